//! The model's probabilities of tokens.

use super::argmax;
use super::candidates::Candidates;
use crate::TokenId;

/// Natural logarithm of the probability that `logits` give to `token`; `None` if there is no such token or no
/// probabilities can be computed from these logits.
///
/// ```
/// let p = edgellm::sampler::log_probability(&[1.0, 1.0], 0).unwrap();
/// assert!((p - 0.5f32.ln()).abs() < 1e-6);
/// ```
pub fn log_probability(logits: &[f32], token: TokenId) -> Option<f32> {
    let logit = *logits.get(token as usize)?;
    LogProbabilities::new(logits)?.of(logit)
}

/// The `count` most likely tokens with their log probabilities, the most likely first; fewer if there are fewer.
///
/// ```
/// let top = edgellm::sampler::top_log_probabilities(&[0.0, 2.0, 1.0], 2);
/// assert_eq!(top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [1, 2]);
/// ```
pub fn top_log_probabilities(logits: &[f32], count: usize) -> Vec<(TokenId, f32)> {
    LogProbabilities::new(logits).map(|probabilities| probabilities.top(logits, count)).unwrap_or_default()
}

/// Turns one row of logits into logarithms of probabilities.
///
/// ```
/// use edgellm::sampler::LogProbabilities;
///
/// let logits = [1.0, 3.0, 1.0];
/// let probabilities = LogProbabilities::new(&logits).unwrap();
/// assert_eq!(probabilities.of(logits[1]), Some(probabilities.top(&logits, 1)[0].1));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LogProbabilities {
    largest: f64,
    log_sum: f64,
}

impl LogProbabilities {
    /// `None` if no probabilities can be computed from these logits.
    pub fn new(logits: &[f32]) -> Option<Self> {
        let largest = f64::from(*logits.get(argmax(logits) as usize)?);
        let sum: f64 =
            logits.iter().filter(|l| !l.is_nan()).map(|&l| libm::exp(f64::from(l) - largest)).sum();
        Some(LogProbabilities { largest, log_sum: libm::log(sum) })
    }

    /// The log probability of a token with this logit.
    pub fn of(&self, logit: f32) -> Option<f32> {
        let log = (f64::from(logit) - self.largest - self.log_sum) as f32;
        (!log.is_nan()).then_some(log)
    }

    /// The `count` most likely tokens of the same `logits` with their log probabilities, the most likely first.
    pub fn top(&self, logits: &[f32], count: usize) -> Vec<(TokenId, f32)> {
        if count == 0 {
            return Vec::new();
        }
        let mut candidates = Candidates::default();
        // One less than all at most, because all come in the order of their ids.
        candidates.keep_top_k(logits, count.min(logits.len().saturating_sub(1)));
        let top = candidates.ids().into_iter().filter_map(|id| {
            let logit = *logits.get(id as usize)?;
            Some((id, self.of(logit)?))
        });
        top.take(count).collect()
    }
}
