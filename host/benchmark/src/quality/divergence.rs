//! How far a model's next-token distributions are from a reference's.

use serde::Serialize;

/// Sums over positions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Divergence {
    positions: usize,
    kl: f64,
    same_top: usize,
}

/// The results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Divergences {
    /// Mean Kullback-Leibler divergence of the model's distribution from the reference's, in nats.
    pub kl: f64,
    /// Share of positions with the reference's most likely token.
    pub top1: f64,
    /// Positions compared.
    pub positions: usize,
}

impl Divergence {
    /// Adds a position, by both sides' logits, (vocab_size).
    pub fn add(&mut self, reference: &[f32], logits: &[f32]) {
        let (reference_total, total) = (log_total(reference), log_total(logits));
        self.kl += reference
            .iter()
            .zip(logits)
            .map(|(&r, &l)| {
                let (r, l) = (f64::from(r) - reference_total, f64::from(l) - total);
                r.exp() * (r - l)
            })
            .sum::<f64>();
        self.same_top += usize::from(first_largest(reference) == first_largest(logits));
        self.positions += 1;
    }

    /// The means; `None` if no position was added.
    pub fn means(&self) -> Option<Divergences> {
        let positions = self.positions;
        let count = positions as f64;
        (positions > 0).then(|| Divergences {
            kl: self.kl / count,
            top1: self.same_top as f64 / count,
            positions,
        })
    }
}

/// Logarithm of the sum of exponentials: a token's log-probability is its logit minus this.
pub fn log_total(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    f64::from(max) + sum.ln()
}

/// Index of the first of the largest logits.
pub fn first_largest(logits: &[f32]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (1..logits.len()).fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_distributions_do_not_diverge() {
        let mut divergence = Divergence::default();
        assert_eq!(divergence.means(), None);
        // A constant on all logits changes nothing.
        divergence.add(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]);
        let means = divergence.means().expect("a position");
        assert!(means.kl.abs() < 1e-12 && means.top1 == 1.0);
    }

    #[test]
    fn a_known_divergence() {
        let mut divergence = Divergence::default();
        // (1/2, 1/2) against (1/4, 3/4): half of ln 2 + ln 2/3.
        divergence.add(&[0.0, 0.0], &[0.0, 3f32.ln()]);
        let means = divergence.means().expect("a position");
        assert!((means.kl - 0.5 * (2f64.ln() + (2.0f64 / 3.0).ln())).abs() < 1e-7, "{means:?}");
        assert_eq!(means.top1, 0.0);
    }
}
