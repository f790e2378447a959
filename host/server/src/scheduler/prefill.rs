//! Prompts in prefill: how a step's tokens are shared among them.

use crate::access::Client;

/// What a sequence could process in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) client: Client,
    /// Tokens that are left; 0 if it takes no part.
    pub(super) left: usize,
    /// Whether each of them takes a row of logits.
    pub(super) scored: bool,
}

/// How many tokens of each to process in a step of `room` tokens, of which `rows` may be scored. Each client gets the same
/// part of the room, those that come first in `turn` also what others do not need. Within a client's part, the prompt with
/// the least left goes first, with up to half of it, so that it does not wait for a long one; the rest goes by order.
pub(super) fn shares(
    demands: &[Demand],
    turn: impl Fn(Client) -> u64,
    mut room: usize,
    mut rows: usize,
) -> Vec<usize> {
    let mut clients: Vec<Client> = Vec::new();
    for demand in demands.iter().filter(|demand| demand.left > 0) {
        if !clients.contains(&demand.client) {
            clients.push(demand.client);
        }
    }
    clients.sort_by_key(|&client| turn(client));
    let mut shares = vec![0; demands.len()];
    let equal = room.div_ceil(clients.len().max(1));
    for part in [equal, room] {
        for &client in &clients {
            let mut part = part.min(room);
            let left = |at: usize, shares: &[usize]| demands[at].left - shares[at];
            let own = (0..demands.len()).filter(|&at| demands[at].client == client);
            let own: Vec<usize> = own.filter(|&at| left(at, &shares) > 0).collect();
            let first = own.iter().copied().min_by_key(|&at| left(at, &shares));
            let first = first.map(|at| (at, part.div_ceil(2)));
            for (at, most) in first.into_iter().chain(own.into_iter().map(|at| (at, usize::MAX))) {
                let most = most.min(left(at, &shares)).min(part);
                let share = if demands[at].scored { most.min(rows) } else { most };
                shares[at] += share;
                part -= share;
                room -= share;
                rows -= if demands[at].scored { share } else { 0 };
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Client = Client::Key(0);
    const B: Client = Client::Key(1);

    fn of(demands: &[(Client, usize)], room: usize) -> Vec<usize> {
        let demand = |&(client, left): &(Client, usize)| Demand { client, left, scored: false };
        let demands: Vec<Demand> = demands.iter().map(demand).collect();
        // B has used more.
        shares(&demands, |client| u64::from(client == B), room, 0)
    }

    #[test]
    fn the_shortest_goes_first_then_the_oldest() {
        assert_eq!(of(&[(A, 500), (A, 100), (A, 20)], 64), [44, 0, 20]);
        assert_eq!(of(&[(A, 500), (A, 100)], 64), [32, 32]);
        assert_eq!(of(&[(A, 0), (A, 10)], 64), [0, 10]);
        assert_eq!(of(&[], 64), [0; 0]);
    }

    #[test]
    fn clients_get_equal_parts() {
        assert_eq!(of(&[(A, 500), (A, 500), (A, 500), (B, 500)], 64), [32, 0, 0, 32]);
        assert_eq!(of(&[(A, 1), (A, 1), (A, 1), (B, 500)], 8), [1, 1, 1, 5]);
        assert_eq!(of(&[(B, 500), (A, 10)], 64), [54, 10]);
        // Fewer tokens than clients: by turns.
        assert_eq!(of(&[(B, 500), (A, 10)], 1), [0, 1]);
    }

    #[test]
    fn scored_prompts_share_the_rows() {
        let demand = |client, scored| Demand { client, left: 100, scored };
        let demands = [demand(A, true), demand(A, false), demand(B, true)];
        assert_eq!(shares(&demands, |_| 0, 60, 20), [20, 40, 0]);
        assert_eq!(shares(&demands, |client| u64::from(client == A), 60, 20), [0, 40, 20]);
    }
}
