//! The decode loop's one step: from a row of logits to a token and its text.

use super::continuation::Continuation;
use super::{Constraint, FinishReason, StopStrings, Token};
use crate::sampler::{LogProbabilities, Sampler};
use crate::{Error, Model, TokenId};
use std::borrow::BorrowMut;

/// Decodes one sequence: takes a row of logits at a time, and gives the token chosen from it with the text that became
/// certain, until the sequence ends.
///
/// It runs no model. [`Session::next_token`](crate::Session::next_token) runs one for it;
/// a server that extends many sequences in one [`Batch`](crate::Batch) hands each decoder its row.
///
/// ```no_run
/// # fn run(model: edgellm::Model, mut logits_after: impl FnMut(u32) -> Vec<f32>) -> Result<(), Box<dyn std::error::Error>> {
/// use edgellm::generate::Decoder;
/// use edgellm::sampler::{Sampler, SamplerOptions};
///
/// let sampler = Sampler::new(SamplerOptions::default())?;
/// let mut decoder = Decoder::new(&model, sampler).max_tokens(100).stop(["The end"])?;
/// let mut last = 1;
/// while decoder.finish_reason().is_none() {
///     let token = decoder.step(&mut logits_after(last))?;
///     print!("{}", token.text);
///     last = token.id;
/// }
/// # Ok(()) }
/// ```
///
/// `S` is a [`Sampler`], or a mutable reference to one that goes on with the next sequence.
#[derive(Debug)]
pub struct Decoder<S = Sampler> {
    sampler: S,
    constraint: Option<Box<dyn Constraint>>,
    continuation: Continuation,
    /// How many of the most likely tokens to give with each token, if log probabilities are wanted.
    logprobs: Option<usize>,
    /// The logits after the prompt, until the first token is chosen from them.
    prompt_logits: Vec<f32>,
}

impl<S: BorrowMut<Sampler>> Decoder<S> {
    /// Decodes tokens of `model` until one of its end tokens.
    pub fn new(model: &Model, sampler: S) -> Self {
        let continuation = Continuation::new(model);
        Decoder { sampler, constraint: None, continuation, logprobs: None, prompt_logits: Vec::new() }
    }

    /// Ends after this many tokens; with 0 it has ended before it begins.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.continuation = self.continuation.max_tokens(max_tokens);
        self
    }

    /// Ends when the session is full that has room for this many tokens after the prompt. The last token takes no
    /// room, because nothing follows it.
    #[must_use]
    pub fn room(mut self, tokens: usize) -> Self {
        self.continuation = self.continuation.room(tokens);
        self
    }

    /// Ends before any of these strings. Further calls add strings.
    ///
    /// # Errors
    /// [`Error::EmptyStop`]: an empty string would end every text before it begins.
    pub fn stop<T: Into<String>>(self, strings: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        Ok(self.stop_strings(StopStrings::new(strings)?))
    }

    /// Ends before any of these strings, which decoders share. Further calls add strings.
    #[must_use]
    pub fn stop_strings(mut self, strings: StopStrings) -> Self {
        self.continuation = self.continuation.stop(strings);
        self
    }

    /// Ends with any of these tokens, as with the model's own end tokens. Further calls add tokens.
    #[must_use]
    pub fn stop_tokens(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.continuation = self.continuation.stop_tokens(ids);
        self
    }

    /// Goes on after the model's end tokens.
    #[must_use]
    pub fn ignore_eos(mut self, ignore: bool) -> Self {
        self.continuation = self.continuation.ignore_eos(ignore);
        self
    }

    /// Gives every token's [`Token::logprob`] and, as [`Token::top_logprobs`], those of the `top` most likely tokens.
    /// It takes a pass over the logits for each token.
    #[must_use]
    pub fn logprobs(mut self, top: Option<usize>) -> Self {
        self.logprobs = top;
        self
    }

    /// Chooses only tokens that `constraint` allows, and ends when it is complete.
    #[must_use]
    pub fn constraint(mut self, constraint: Option<Box<dyn Constraint>>) -> Self {
        self.constraint = constraint;
        self
    }

    /// Notes the tokens of the prompt, before the first step: the sampler's penalties count them, and the answer
    /// continues their text. After nothing but the model's BOS token it begins a text, of which SentencePiece models strip
    /// the first space.
    pub fn accept_prompt(&mut self, prompt: &[TokenId]) {
        let sampler = self.sampler.borrow_mut();
        prompt.iter().for_each(|&token| sampler.accept(token));
        self.continuation.after(prompt);
    }

    /// Keeps the logits after the prompt, from which [`Session::next_token`](crate::Session::next_token) chooses the
    /// first token.
    pub fn begin(&mut self, logits: &[f32]) {
        self.prompt_logits.clear();
        self.prompt_logits.extend_from_slice(logits);
    }

    pub(super) fn take_prompt_logits(&mut self) -> Option<Vec<f32>> {
        let logits = std::mem::take(&mut self.prompt_logits);
        (!logits.is_empty()).then_some(logits)
    }

    /// Chooses the next token from `logits`, which a constraint changes. After the end, the token has no text.
    ///
    /// # Errors
    /// [`Error::Constraint`] if the constraint cannot go on; then no token was added.
    pub fn step(&mut self, logits: &mut [f32]) -> Result<Token, Error> {
        // Probabilities are the model's, so they are taken before the constraint changes logits. Those that it allows,
        // and so that of the chosen token, stay as they are.
        let probabilities = self.logprobs.and_then(|top| Some((LogProbabilities::new(logits)?, top)));
        let top_logprobs = probabilities.as_ref().map(|(p, top)| p.top(logits, *top)).unwrap_or_default();
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(logits).map_err(Error::Constraint)?;
        }
        let id = self.sampler.borrow_mut().sample(logits);
        let mut complete = false;
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(id).map_err(Error::Constraint)?;
            complete = constraint.is_complete();
        }
        let logprob = probabilities.and_then(|(p, _)| p.of(*logits.get(id as usize)?));
        let mut text = self.continuation.push(id);
        if complete {
            text.push_str(&self.continuation.end(FinishReason::Stop));
        }
        Ok(Token { id, text, logprob, top_logprobs })
    }

    /// Ends it now for `reason`, unless it has ended, and returns the text that was held back.
    pub fn end(&mut self, reason: FinishReason) -> String {
        self.continuation.end(reason)
    }

    /// Whether it gives log probabilities.
    pub fn has_logprobs(&self) -> bool {
        self.logprobs.is_some()
    }

    /// Why it ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.continuation.finish_reason()
    }

    /// All tokens so far, with the end token or stop token that ended it, which has no text.
    pub fn token_ids(&self) -> &[TokenId] {
        self.continuation.token_ids()
    }
}
