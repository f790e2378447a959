//! Turns: how much of the model each client has used, and who gives way to whom.
//!
//! This is fair queueing. A client's use is the work done for it in tokens, and the client that has used the least comes
//! first. Use is relative: a client that arrives starts level with the one that has used the least of those present, so
//! that it neither waits for what happened before it came nor makes others wait for it.

use crate::access::Client;
use std::collections::{HashMap, HashSet};

/// The use of a token that is only processed: of a prompt, or of a sequence whose KV cache was dropped.
pub(super) const PROCESSED: u64 = 1;

/// The use of a token that is generated. It takes about this much longer: a chunk of a prompt shares a pass over the
/// weights, and needs no sampling.
pub(super) const GENERATED: u64 = 8;

/// Between clients with the same number of places, one may be ahead by so much before the other takes its place: 16
/// generated tokens.
pub(super) const QUANTUM: u64 = 16 * GENERATED;

/// What a client that asks for less than its share can save up.
const CREDIT: u64 = 4 * QUANTUM;

/// The use of every client, and rules that follow from it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    used: HashMap<Client, u64>,
}

impl Turns {
    /// Lets clients that have arrived start, and forgets those that have left, unless they are ahead of those that are
    /// there: whoever comes back finds its use as it left it.
    pub(super) fn update(&mut self, present: &HashSet<Client>) {
        let known = || present.iter().filter_map(|client| self.used.get(client).copied());
        let least = known().min().unwrap_or(0);
        let floor = known().max().map_or(0, |most| least.max(most.saturating_sub(CREDIT)));
        self.used.retain(|client, used| present.contains(client) || (*used > floor && !present.is_empty()));
        for client in present {
            let used = self.used.entry(*client).or_insert(floor);
            *used = floor.max(*used);
        }
    }

    /// What a client has used.
    pub(super) fn used(&self, client: Client) -> u64 {
        self.used.get(&client).copied().unwrap_or(0)
    }

    /// Counts work done for a client.
    pub(super) fn charge(&mut self, client: Client, work: u64) {
        *self.used.entry(client).or_insert(0) += work;
    }

    /// Whether a client that has `theirs` sequences gives one up for another that has `own`: if it keeps at least as many
    /// as the other gets, or if it is ahead by more than a quantum.
    pub(super) fn yields(&self, (other, theirs): (Client, usize), (client, own): (Client, usize)) -> bool {
        other != client
            && (theirs > own + 1 || (theirs > own && self.used(other) > self.used(client) + QUANTUM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Client = Client::Key(0);
    const B: Client = Client::Key(1);

    fn turns(present: &[Client]) -> Turns {
        let mut turns = Turns::default();
        turns.update(&present.iter().copied().collect());
        turns
    }

    #[test]
    fn a_client_starts_level_and_keeps_its_use() {
        let mut turns = turns(&[A]);
        turns.charge(A, 1000);
        turns.update(&HashSet::from([A, B]));
        assert_eq!((turns.used(A), turns.used(B)), (1000, 1000));
        turns.charge(A, 300);
        // A goes and comes back: it is still ahead.
        turns.update(&HashSet::from([B]));
        turns.update(&HashSet::from([A, B]));
        assert_eq!((turns.used(A), turns.used(B)), (1300, 1000));
        // Once B has overtaken it, there is nothing to remember, and credit for its absence it gets none.
        turns.update(&HashSet::from([B]));
        turns.charge(B, 500);
        turns.update(&HashSet::from([B]));
        assert_eq!(turns.used.len(), 1);
        turns.update(&HashSet::from([A, B]));
        assert_eq!(turns.used(A), 1500);
        turns.update(&HashSet::new());
        assert!(turns.used.is_empty());
    }

    #[test]
    fn modesty_saves_up_little() {
        let mut turns = turns(&[A, B]);
        turns.charge(A, 100_000);
        turns.update(&HashSet::from([A, B]));
        assert_eq!(turns.used(B), 100_000 - CREDIT);
    }

    #[test]
    fn places_are_shared_first_and_use_decides_between_equals() {
        let mut turns = turns(&[A, B]);
        assert!(turns.yields((A, 2), (B, 0)));
        assert!(!turns.yields((A, 1), (B, 0)), "level");
        turns.charge(A, QUANTUM);
        assert!(!turns.yields((A, 1), (B, 0)), "a quantum ahead");
        turns.charge(A, 1);
        assert!(turns.yields((A, 1), (B, 0)));
        assert!(!turns.yields((A, 1), (B, 1)) && !turns.yields((A, 9), (A, 0)));
    }
}
