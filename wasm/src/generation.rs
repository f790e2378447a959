//! An answer in the making: the prompt's rest, then token by token.

use crate::Failure;
use crate::options::GenerateOptions;
use edgellm::generate::Continuation;
use edgellm::sampler::{Sampler, log_probability};
use edgellm::{Model, TokenId};
use wasm_bindgen::prelude::wasm_bindgen;

/// A token of an answer.
#[wasm_bindgen]
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its id.
    pub id: u32,
    /// Text that became certain with it.
    #[wasm_bindgen(getter_with_clone)]
    pub text: String,
    /// Natural logarithm of the model's probability for it, if asked for.
    pub logprob: Option<f32>,
    /// Why the answer ends with it, if it does: `stop`, `length` or `context_full`.
    #[wasm_bindgen(getter_with_clone)]
    pub finish: Option<String>,
}

/// What is left of the prompt, and what chooses and shows tokens after it.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Tokens of the prompt that are to be processed.
    rest: Vec<TokenId>,
    sampler: Sampler,
    continuation: Continuation,
    /// Of what follows the last token processed.
    logits: Vec<f32>,
    logprobs: bool,
}

impl Generation {
    /// An answer to `prompt`, of which `common` tokens are processed already.
    pub(crate) fn new(
        model: &Model,
        prompt: &[TokenId],
        common: usize,
        options: &GenerateOptions,
    ) -> Result<Self, Failure> {
        let mut sampler = Sampler::new(options.sampler())?;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let continuation = Continuation::new(model)
            .max_tokens(options.max_tokens.unwrap_or(usize::MAX))
            .stop(&options.stop)?
            .ignore_eos(options.ignore_eos);
        let rest = prompt[common..].to_vec();
        if rest.is_empty() {
            return Err(edgellm::Error::EmptyPrompt.into());
        }
        Ok(Generation { rest, sampler, continuation, logits: Vec::new(), logprobs: options.logprobs })
    }

    /// Takes up to `count` tokens of the prompt to process.
    pub(crate) fn piece(&mut self, count: usize) -> Vec<TokenId> {
        self.rest.drain(..count.min(self.rest.len())).collect()
    }

    /// Tokens of the prompt that are left.
    pub(crate) fn pending(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn set_logits(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
    }

    /// The token that has to be processed before another one can be chosen.
    pub(crate) fn last(&self) -> Option<TokenId> {
        if self.continuation.finish_reason().is_some() {
            return None;
        }
        self.continuation.token_ids().last().copied()
    }

    /// Chooses a token, unless the answer has ended; `full` says that there is no room for another.
    pub(crate) fn choose(&mut self, full: bool) -> Option<Step> {
        if self.continuation.finish_reason().is_some() || self.logits.is_empty() {
            return None;
        }
        let id = self.sampler.sample(&self.logits);
        let logprob = if self.logprobs { log_probability(&self.logits, id) } else { None };
        let text = self.continuation.push(id, full);
        let finish = self.continuation.finish_reason().map(|reason| reason.as_str().to_string());
        Some(Step { id, text, logprob, finish })
    }
}
