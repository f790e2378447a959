//! The token loop: logits to tokens to text, until something says stop.

mod continuation;
mod stop;
#[cfg(test)]
mod tests;

pub use continuation::Continuation;

use crate::sampler::{Sampler, log_probability};
use crate::{Error, Session, TokenId};

/// A generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The text that became certain with it: often its own, none while a character is incomplete or a stop string may
    /// be coming, and more than its own afterwards.
    pub text: String,
    /// Natural logarithm of the model's probability for it, before the sampler's changes, if
    /// [`Generation::logprobs`] asked for it.
    pub logprob: Option<f32>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its answer, or a stop string or stop token came.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// The session can hold no more tokens.
    ContextFull,
}

impl FinishReason {
    /// `stop`, `length` or `context_full`.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ContextFull => "context_full",
        }
    }
}

/// An iterator over generated tokens; what [`Session::generate`] gives.
///
/// The texts of its tokens, put together, are the text of [`Generation::token_ids`], without special tokens, up to the
/// stop string.
#[derive(Debug)]
pub struct Generation<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    /// After the prompt; taken by the first token.
    first: Option<Vec<f32>>,
    continuation: Continuation,
    logprobs: bool,
    failed: bool,
}

impl Session {
    /// Processes `prompt` and generates from there.
    ///
    /// ```no_run
    /// # fn run(model: edgellm::Model) -> Result<(), Box<dyn std::error::Error>> {
    /// use edgellm::sampler::{Sampler, SamplerOptions};
    /// use edgellm::{Session, SessionOptions};
    ///
    /// let mut session = Session::new(&model, SessionOptions::default())?;
    /// let mut sampler = Sampler::new(SamplerOptions { seed: 42, ..Default::default() })?;
    /// let prompt = model.tokenizer().encode("Once upon a time", true)?;
    /// for token in session.generate(&prompt, &mut sampler)?.max_tokens(100).stop(["The end"])? {
    ///     print!("{}", token?.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn generate<'a>(
        &'a mut self,
        prompt: &[TokenId],
        sampler: &'a mut Sampler,
    ) -> Result<Generation<'a>, Error> {
        let first = Some(self.prefill(prompt)?.to_vec());
        prompt.iter().for_each(|&token| sampler.accept(token));
        let continuation = Continuation::new(self.model());
        Ok(Generation { session: self, sampler, first, continuation, logprobs: false, failed: false })
    }
}

impl Generation<'_> {
    /// At most so many tokens; without it, until the session is full.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.continuation = self.continuation.max_tokens(max_tokens);
        self
    }

    /// Ends before any of these strings comes. Called again, it adds strings.
    ///
    /// # Errors
    /// [`Error::EmptyStop`]: an empty string would end every text before it begins.
    pub fn stop<S: Into<String>>(mut self, strings: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.continuation = self.continuation.stop(strings)?;
        Ok(self)
    }

    /// Ends with any of these tokens, as with the model's own end tokens. Called again, it adds tokens.
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

    /// Gives every token's [`Token::logprob`], which costs a little time.
    #[must_use]
    pub fn logprobs(mut self, logprobs: bool) -> Self {
        self.logprobs = logprobs;
        self
    }

    /// Why it ended; `None` while it goes on, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.continuation.finish_reason()
    }

    /// All tokens so far, with the end token or stop token that ended it, which has no text.
    pub fn token_ids(&self) -> &[TokenId] {
        self.continuation.token_ids()
    }

    /// Chooses the next token.
    fn choose(&mut self) -> Result<(TokenId, Option<f32>), Error> {
        let first;
        let logits = match (self.first.take(), self.continuation.token_ids().last()) {
            (None, Some(&last)) => &*self.session.decode(last)?,
            (logits, _) => {
                first = logits.unwrap_or_default();
                &first
            }
        };
        let id = self.sampler.sample(logits);
        Ok((id, if self.logprobs { log_probability(logits, id) } else { None }))
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finish_reason().is_some() || self.failed {
            return None;
        }
        let (id, logprob) = match self.choose() {
            Ok(chosen) => chosen,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let full = self.session.position() >= self.session.capacity();
        let text = self.continuation.push(id, full);
        Some(Ok(Token { id, text, logprob }))
    }
}

impl std::iter::FusedIterator for Generation<'_> {}
