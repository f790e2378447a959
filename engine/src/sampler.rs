//! Sampling the next token from logits.
//!
//! The steps and their order are llama.cpp's: logit bias, penalties, top-k, top-p, min-p, temperature, and a draw from
//! the rest. The same options, seed and logits give the same token on every target: sums have one order, `exp` and `ln`
//! come from `libm`, and ties go to the smaller id.

mod candidates;
mod probability;
#[cfg(test)]
mod tests;

pub use probability::{LogProbabilities, log_probability, top_log_probabilities};

use crate::TokenId;
use candidates::Candidates;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;

/// How to sample tokens. The defaults are llama.cpp's, except for the seed, which is fixed: the engine has no source of
/// randomness.
///
/// ```
/// use edgellm::sampler::{Sampler, SamplerOptions};
///
/// let mut sampler = Sampler::new(SamplerOptions { temperature: 0.7, seed: 42, ..Default::default() })?;
/// let token = sampler.sample(&[0.0, 1.0, 9.0, 1.0]);
/// assert_eq!(token, 2);
/// # Ok::<(), edgellm::sampler::SamplerError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits: below 1 sharper, above 1 more random. 0 always takes the most likely token (greedy).
    /// Default 0.8.
    pub temperature: f32,
    /// Keeps the `top_k` most likely tokens; 0 keeps all. Default 40.
    pub top_k: usize,
    /// Keeps the most likely tokens whose probabilities add up to this; 1 keeps all. Default 0.95.
    pub top_p: f32,
    /// Keeps tokens with at least this fraction of the highest probability; 0 keeps all. Default 0.05.
    pub min_p: f32,
    /// Divides the logits (multiplies negative ones) of recent tokens; 1 has no effect. Default 1.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of recent tokens. Default 0.
    pub presence_penalty: f32,
    /// Subtracted from the logits of recent tokens, once for each time they occur. Default 0.
    pub frequency_penalty: f32,
    /// How many tokens, those of the prompt included, count as recent; 0 disables the three penalties. Default 64.
    pub repeat_last_n: usize,
    /// Added to the logits of these tokens; negative infinity excludes one. Ids outside the vocabulary are ignored. Clones
    /// share the list.
    pub logit_bias: Arc<[(TokenId, f32)]>,
    /// Seed of the random numbers. Default 0.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        SamplerOptions {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repeat_last_n: 64,
            logit_bias: Arc::default(),
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Always the most likely token: temperature 0.
    pub fn greedy() -> Self {
        SamplerOptions { temperature: 0.0, ..Default::default() }
    }

    fn penalizes(&self) -> bool {
        self.repeat_last_n > 0
            && (self.repetition_penalty != 1.0
                || self.presence_penalty != 0.0
                || self.frequency_penalty != 0.0)
    }

    fn validate(&self) -> Result<(), SamplerError> {
        let check = |option, value: f32, ok: bool, rule| {
            if ok { Ok(()) } else { Err(SamplerError { option, value, rule }) }
        };
        let finite = "it must be a finite number";
        check(
            "temperature",
            self.temperature,
            (0.0..=100.0).contains(&self.temperature),
            "it must be in 0..=100",
        )?;
        check("top_p", self.top_p, (0.0..=1.0).contains(&self.top_p), "it must be in 0..=1")?;
        check("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "it must be in 0..=1")?;
        let penalty = self.repetition_penalty;
        check(
            "repetition_penalty",
            penalty,
            penalty > 0.0 && penalty.is_finite(),
            "it must be above 0 and finite",
        )?;
        check("presence_penalty", self.presence_penalty, self.presence_penalty.is_finite(), finite)?;
        check("frequency_penalty", self.frequency_penalty, self.frequency_penalty.is_finite(), finite)?;
        for &(_, bias) in self.logit_bias.iter() {
            check(
                "logit_bias",
                bias,
                bias < f32::INFINITY,
                "it must be finite, or negative infinity to exclude a token",
            )?;
        }
        Ok(())
    }
}

/// An option outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("sampler option {option} is {value}, but {rule}")]
pub struct SamplerError {
    /// Name of the field in [`SamplerOptions`].
    pub option: &'static str,
    /// Its value.
    pub value: f32,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Samples tokens, and remembers them for the penalties.
///
/// After the first call, sampling a token allocates nothing.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    rng: Pcg32,
    recent: VecDeque<TokenId>,
    /// `recent`, sorted.
    sorted: Vec<TokenId>,
    /// Logits after bias and penalties.
    adjusted: Vec<f32>,
    candidates: Candidates,
}

/// Recent tokens that memory is reserved for at once; longer windows grow.
const RECENT_RESERVED: usize = 4096;

impl Sampler {
    /// A sampler with these options.
    ///
    /// # Errors
    /// [`SamplerError`] names the first option out of range.
    pub fn new(options: SamplerOptions) -> Result<Self, SamplerError> {
        options.validate()?;
        let room = if options.penalizes() { options.repeat_last_n.min(RECENT_RESERVED) } else { 0 };
        Ok(Sampler {
            rng: Pcg32::seed_from_u64(options.seed),
            recent: VecDeque::with_capacity(room),
            sorted: Vec::with_capacity(room),
            adjusted: Vec::new(),
            candidates: Candidates::default(),
            options,
        })
    }

    /// The options.
    pub fn options(&self) -> &SamplerOptions {
        &self.options
    }

    /// Adds a token that this sampler did not choose, such as one of the prompt, to the recent ones.
    pub fn accept(&mut self, token: TokenId) {
        if self.options.penalizes() {
            if self.recent.len() == self.options.repeat_last_n {
                self.recent.pop_front();
            }
            self.recent.push_back(token);
        }
    }

    /// Forgets all tokens and restarts the random numbers from the seed.
    pub fn reset(&mut self) {
        self.rng = Pcg32::seed_from_u64(self.options.seed);
        self.recent.clear();
    }

    /// Samples a token and adds it to the recent ones.
    ///
    /// NaN logits count as impossible; without any possible token the result is 0.
    pub fn sample(&mut self, logits: &[f32]) -> TokenId {
        let logits = if self.options.penalizes() || !self.options.logit_bias.is_empty() {
            self.adjust(logits);
            &self.adjusted
        } else {
            logits
        };
        let token = if self.options.temperature == 0.0 {
            argmax(logits)
        } else {
            // 53 random bits: every value is exact in an f64.
            let random = (self.rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
            self.candidates.keep_top_k(logits, self.options.top_k);
            self.candidates.keep_top_p(self.options.top_p);
            self.candidates.keep_min_p(self.options.min_p);
            self.candidates.draw(self.options.temperature, random)
        };
        self.accept(token);
        token
    }

    /// Writes the logits after bias and penalties to `self.adjusted`.
    fn adjust(&mut self, logits: &[f32]) {
        let options = &self.options;
        self.adjusted.clear();
        self.adjusted.extend_from_slice(logits);
        for &(token, bias) in options.logit_bias.iter() {
            if let Some(logit) = self.adjusted.get_mut(token as usize) {
                *logit += bias;
            }
        }
        self.sorted.clear();
        self.sorted.extend(&self.recent);
        self.sorted.sort_unstable();
        for same in self.sorted.chunk_by(|a, b| a == b) {
            if let Some(logit) = self.adjusted.get_mut(same[0] as usize) {
                if *logit <= 0.0 {
                    *logit *= options.repetition_penalty;
                } else {
                    *logit /= options.repetition_penalty;
                }
                *logit -= same.len() as f32 * options.frequency_penalty + options.presence_penalty;
            }
        }
    }
}

/// Index of the largest logit, the first of equals.
fn argmax(logits: &[f32]) -> TokenId {
    let mut best = 0;
    let mut largest = f32::NEG_INFINITY;
    for (id, &logit) in (0..).zip(logits) {
        if logit > largest {
            (best, largest) = (id, logit);
        }
    }
    best
}
