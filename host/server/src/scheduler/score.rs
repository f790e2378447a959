//! Scoring prompts: the log probability that the model gives to each of their tokens.

use super::event::TokenLogprobs;
use edgellm::sampler::LogProbabilities;
use edgellm::{Model, TokenId};
use std::sync::OnceLock;

/// Bytes of logits that scored prompts may take in a step; with very large vocabularies, a few rows take more.
const LOGITS: usize = 16 << 20;

/// Tokens of scored prompts that a step may process: each wants a row of logits, and those of a whole prompt would take
/// more memory than the model.
pub(super) fn most_rows(vocab_size: usize) -> usize {
    (LOGITS / (vocab_size.max(1) * size_of::<f32>())).clamp(16, 128)
}

/// The log probabilities that the rows of logits after some tokens give to the `next` ones, with those of the `top` most
/// likely tokens. Computed on the model's thread pool, as it takes a pass over each row.
pub(super) fn score(model: &Model, rows: &[&mut [f32]], next: &[TokenId], top: usize) -> Vec<TokenLogprobs> {
    let places: Vec<OnceLock<TokenLogprobs>> = next.iter().map(|_| OnceLock::new()).collect();
    model.compute().pool().for_each_range(places.len().min(rows.len()), &|range| {
        for index in range {
            let row: &[f32] = &*rows[index];
            places[index].get_or_init(|| logprobs(row, next[index], top));
        }
    });
    let unknown = || TokenLogprobs { logprob: f32::MIN, top: Vec::new() };
    places.into_iter().map(|place| place.into_inner().unwrap_or_else(unknown)).collect()
}

fn logprobs(logits: &[f32], token: TokenId, top: usize) -> TokenLogprobs {
    let probabilities = LogProbabilities::new(logits);
    let of = |p: LogProbabilities| p.of(*logits.get(token as usize)?);
    TokenLogprobs {
        // JSON has no infinity.
        logprob: probabilities.and_then(of).map_or(f32::MIN, |logprob| logprob.max(f32::MIN)),
        top: probabilities.map(|p| p.top(logits, top)).unwrap_or_default(),
    }
}
