//! How far predictions are from those of the model as its source has it.

use edgellm::Compute;

/// The source's predictions at some positions.
#[derive(Debug)]
pub(super) struct Reference {
    vocab: usize,
    /// (positions, vocab_size)
    probabilities: Vec<f32>,
    /// Of each position: the sum of its probabilities, which rounding to floats moved, and what the sum of their products with their
    /// logarithms is when they sum to 1.
    sums: Vec<[f64; 2]>,
}

impl Reference {
    pub(super) fn new(vocab: usize) -> Self {
        Reference { vocab, probabilities: Vec::new(), sums: Vec::new() }
    }

    /// Adds the predictions of some positions, by their logits.
    pub(super) fn add(&mut self, logits: &[f32]) {
        for row in logits.chunks_exact(self.vocab) {
            let (top, mut total) = (largest(row), 0.0);
            for &logit in row {
                total += exp(logit, top);
            }
            let start = self.probabilities.len();
            self.probabilities.extend(row.iter().map(|&logit| (exp(logit, top) / total) as f32));
            let (mut sum, mut products) = (0.0, 0.0);
            for p in self.probabilities[start..].iter().map(|&p| f64::from(p)).filter(|&p| p > 0.0) {
                sum += p;
                products += p * libm::log(p);
            }
            self.sums.push([sum, products / sum - libm::log(sum)]);
        }
    }

    /// Sums the divergences of the positions from `first` on, by other logits for them.
    pub(super) fn sum(&self, compute: &Compute, first: usize, logits: &[f32]) -> f64 {
        let mut divergences: Vec<f64> = vec![0.0; logits.len() / self.vocab];
        compute.pool().for_each_mut(&mut divergences, &|index, divergence| {
            let row = logits.get(index * self.vocab..(index + 1) * self.vocab);
            *divergence = row.map_or(0.0, |row| self.divergence(first + index, row));
        });
        // In the order of the text, whichever thread was first.
        divergences.into_iter().sum()
    }

    fn divergence(&self, position: usize, logits: &[f32]) -> f64 {
        let row = self.probabilities.get(position * self.vocab..(position + 1) * self.vocab);
        let (Some(row), Some(&[sum, products])) = (row, self.sums.get(position)) else { return 0.0 };
        let top = largest(logits);
        let (mut total, mut cross) = (0.0, 0.0);
        for (&p, &logit) in row.iter().zip(logits) {
            total += exp(logit, top);
            cross += f64::from(p) * (f64::from(logit) - f64::from(top));
        }
        products - cross / sum + libm::log(total)
    }

    pub(super) fn positions(&self) -> usize {
        self.sums.len()
    }
}

/// Of a library, not of the machine: every one chooses the same widths.
fn exp(logit: f32, top: f32) -> f64 {
    libm::exp(f64::from(logit) - f64::from(top))
}

fn largest(logits: &[f32]) -> f32 {
    logits.iter().fold(f32::NEG_INFINITY, |top, &logit| if logit > top { logit } else { top })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_divergence() {
        let compute = Compute::default();
        let mut reference = Reference::new(2);
        reference.add(&[0.0, 0.0, 5.0, 5.0 + 3_f32.ln()]);
        assert_eq!(reference.positions(), 2);
        // The same, a constant apart.
        assert!(reference.sum(&compute, 0, &[1.0, 1.0]).abs() < 1e-12);
        assert!(reference.sum(&compute, 1, &[0.0, 3_f32.ln()]).abs() < 1e-6);
        // (1/2, 1/2) against (1/4, 3/4): half of ln 2 + ln 2/3.
        let expected = 0.5 * (2_f64.ln() + (2.0_f64 / 3.0).ln());
        assert!((reference.sum(&compute, 0, &[0.0, 3_f32.ln()]) - expected).abs() < 1e-7);
        // And back: 1/4 ln 1/2 + 3/4 ln 3/2.
        let expected = 0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln();
        assert!((reference.sum(&compute, 1, &[0.0, 0.0]) - expected).abs() < 1e-7);
        assert!(reference.sum(&compute, 0, &[1e4, -1e4]) > 1e3, "no overflow");
    }
}
