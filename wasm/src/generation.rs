//! A generation under way: the rest of the prompt, then token by token.

use crate::Failure;
use crate::options::GenerateOptions;
use edgellm::generate::{Decoder, Token};
use edgellm::sampler::Sampler;
use edgellm::{Session, TokenId};
use wasm_bindgen::prelude::wasm_bindgen;

/// A generated token.
#[wasm_bindgen]
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its id.
    pub id: u32,
    /// Text that became certain with it.
    #[wasm_bindgen(getter_with_clone)]
    pub text: String,
    /// Natural logarithm of the model's probability for it, if requested.
    pub logprob: Option<f32>,
    /// Why the answer ends with this token, if it does: `stop`, `length` or `context_full`.
    #[wasm_bindgen(getter_with_clone)]
    pub finish: Option<String>,
}

/// The rest of the prompt, and the decoder of the tokens after it.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Tokens of the prompt that are still to be processed.
    rest: Vec<TokenId>,
    decoder: Decoder,
}

impl Generation {
    /// A generation after `prompt`, of which `session` keeps the first `common` tokens.
    pub(crate) fn new(
        session: &Session,
        prompt: &[TokenId],
        common: usize,
        options: &GenerateOptions,
    ) -> Result<Self, Failure> {
        let mut decoder = Decoder::new(session.model(), Sampler::new(options.sampler())?)
            .max_tokens(options.max_tokens.unwrap_or(usize::MAX))
            .room(session.capacity().saturating_sub(prompt.len()))
            .stop(&options.stop)?
            .ignore_eos(options.ignore_eos)
            .logprobs(options.logprobs.then_some(0));
        decoder.accept_prompt(prompt);
        let rest = prompt[common..].to_vec();
        if rest.is_empty() {
            return Err(edgellm::Error::EmptyPrompt.into());
        }
        Ok(Generation { rest, decoder })
    }

    /// Takes up to `count` tokens of the prompt to process.
    pub(crate) fn piece(&mut self, count: usize) -> Vec<TokenId> {
        self.rest.drain(..count.min(self.rest.len())).collect()
    }

    /// Tokens of the prompt that are left.
    pub(crate) fn pending(&self) -> usize {
        self.rest.len()
    }

    /// Keeps the logits after the prompt for the first token.
    pub(crate) fn begin(&mut self, logits: &[f32]) {
        self.decoder.begin(logits);
    }

    /// The token that [`Generation::next`] processes first, if any.
    pub(crate) fn last(&self) -> Option<TokenId> {
        self.decoder.token_ids().last().copied().filter(|_| self.decoder.finish_reason().is_none())
    }

    /// The next token, from a session that holds the whole prompt; `None` after the end, and before the prompt is
    /// processed.
    pub(crate) fn next(&mut self, session: &mut Session) -> Result<Option<Step>, Failure> {
        if !self.rest.is_empty() {
            return Ok(None);
        }
        let Some(Token { id, text, logprob, .. }) = session.next_token(&mut self.decoder)? else {
            return Ok(None);
        };
        let finish = self.decoder.finish_reason().map(|reason| reason.as_str().to_string());
        Ok(Some(Step { id, text, logprob, finish }))
    }
}
