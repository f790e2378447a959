//! The candidates of a draw, and the filters that narrow them down.

use crate::TokenId;
use std::cmp::Ordering;

/// Tokens that may still be drawn.
///
/// They are ordered by id, or, once `sorted`, with the most likely first: never in the order that the standard library's
/// selection happens to leave, so that sums are the same with every version of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    kept: Vec<Candidate>,
    sorted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    logit: f32,
    id: TokenId,
}

/// The most likely first, and the smaller id of equals. A total order, because logits are never NaN here.
fn most_likely_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

impl Candidates {
    /// Starts with the `k` largest logits, sorted; with all, by id, if `k` is 0 or not less than their number.
    pub(super) fn keep_top_k(&mut self, logits: &[f32], k: usize) {
        self.kept.clear();
        let all = (0..).zip(logits).map(|(id, &logit)| {
            // Infinite logits are clipped so that arithmetic on them does not produce NaN.
            Candidate { id, logit: if logit.is_nan() { f32::MIN } else { logit.clamp(f32::MIN, f32::MAX) } }
        });
        self.sorted = k > 0 && k < logits.len();
        if !self.sorted {
            self.kept.extend(all);
            return;
        }
        // One comparison with the k-th largest so far rejects most logits.
        let room = k.saturating_mul(4).saturating_add(64).min(logits.len());
        self.kept.reserve(room);
        let mut floor = f32::NEG_INFINITY;
        for candidate in all {
            if candidate.logit > floor {
                if self.kept.len() == room {
                    floor = self.select(k);
                    self.kept.truncate(k);
                    if candidate.logit <= floor {
                        continue;
                    }
                }
                self.kept.push(candidate);
            }
        }
        self.select(k);
        self.kept.truncate(k);
        self.kept.sort_unstable_by(most_likely_first);
    }

    /// Moves the `k` most likely to the front and returns the last one's logit. There are at least `k`.
    fn select(&mut self, k: usize) -> f32 {
        match self.kept.len().cmp(&k) {
            Ordering::Greater => self.kept.select_nth_unstable_by(k - 1, most_likely_first).1.logit,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Keeps the most likely whose probabilities add up to `p`, at least one.
    pub(super) fn keep_top_p(&mut self, p: f32) {
        if p >= 1.0 || self.kept.len() < 2 {
            return;
        }
        let largest = self.largest();
        let weight = |candidate: &Candidate| f64::from(libm::expf(candidate.logit - largest));
        let enough = f64::from(p) * self.kept.iter().map(weight).sum::<f64>();
        // Sorting 150,000 tokens to keep 20 is slow: sort only as many as needed.
        let mut sorted = if self.sorted { self.kept.len() } else { 0 };
        let (mut sum, mut count) = (0.0, 0);
        while count < self.kept.len() {
            if count == sorted {
                sorted = sorted.saturating_mul(8).max(64).min(self.kept.len());
                let rest = &mut self.kept[count..];
                let more = sorted - count;
                if more < rest.len() {
                    rest.select_nth_unstable_by(more, most_likely_first);
                }
                rest[..more].sort_unstable_by(most_likely_first);
            }
            sum += weight(&self.kept[count]);
            count += 1;
            if sum >= enough {
                break;
            }
        }
        self.kept.truncate(count);
        self.sorted = true;
    }

    /// Keeps those with at least `p` times the highest probability.
    pub(super) fn keep_min_p(&mut self, p: f32) {
        if p > 0.0 {
            let floor = self.largest() + libm::logf(p);
            self.kept.retain(|candidate| candidate.logit >= floor);
        }
    }

    /// Draws one; `random` is in 0..1.
    pub(super) fn draw(&self, temperature: f32, random: f64) -> TokenId {
        let largest = self.largest();
        let weight = |candidate: &Candidate| f64::from(libm::expf((candidate.logit - largest) / temperature));
        let mut left = random * self.kept.iter().map(weight).sum::<f64>();
        for candidate in &self.kept {
            left -= weight(candidate);
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Rounding left no share for the last one.
        self.kept.iter().rfind(|c| weight(c) > 0.0).map_or(0, |candidate| candidate.id)
    }

    fn largest(&self) -> f32 {
        match (self.sorted, self.kept.first()) {
            (true, Some(first)) => first.logit,
            _ => self.kept.iter().fold(f32::MIN, |largest, candidate| largest.max(candidate.logit)),
        }
    }

    /// Their ids, in order.
    pub(super) fn ids(&self) -> Vec<TokenId> {
        self.kept.iter().map(|candidate| candidate.id).collect()
    }
}
