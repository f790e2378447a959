//! Generation: from logits to tokens to text, until something ends it.
//!
//! [`Decoder`] is the core that every target uses. [`Session::generate`] drives it for one sequence.

mod constraint;
mod continuation;
mod decoder;
mod stop;
#[cfg(test)]
mod tests;
mod token;

pub use constraint::{Constraint, ConstraintError};
pub use decoder::Decoder;
pub use stop::StopStrings;
pub use token::{FinishReason, Token};

use crate::sampler::Sampler;
use crate::{Error, Session, TokenId};
use std::borrow::BorrowMut;

/// An iterator over generated tokens, returned by [`Session::generate`].
///
/// The texts of its tokens, concatenated, are what [`Generation::token_ids`] add to the text of the prompt, without special
/// tokens, up to the stop string.
#[derive(Debug)]
pub struct Generation<'a> {
    session: &'a mut Session,
    decoder: Decoder<&'a mut Sampler>,
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
        let mut decoder = Decoder::new(self.model(), sampler);
        decoder.begin(self.prefill(prompt)?);
        decoder.accept_prompt(prompt);
        let decoder = decoder.room(self.capacity() - self.position());
        Ok(Generation { session: self, decoder, failed: false })
    }

    /// The next token of `decoder`, from the logits after the prompt ([`Decoder::begin`]) or after the decoder's last
    /// token, which is processed first; `None` after the end.
    ///
    /// # Errors
    /// As [`Session::decode`] and [`Decoder::step`], and [`Error::EmptyPrompt`] without the prompt's logits.
    pub fn next_token<S: BorrowMut<Sampler>>(
        &mut self,
        decoder: &mut Decoder<S>,
    ) -> Result<Option<Token>, Error> {
        if decoder.finish_reason().is_some() {
            return Ok(None);
        }
        let token = match (decoder.take_prompt_logits(), decoder.token_ids().last()) {
            (Some(mut logits), _) => decoder.step(&mut logits)?,
            (None, Some(&last)) => decoder.step(self.decode(last)?)?,
            (None, None) => return Err(Error::EmptyPrompt),
        };
        Ok(Some(token))
    }
}

impl Generation<'_> {
    /// Ends after this many tokens; without it, when the session is full.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.decoder = self.decoder.max_tokens(max_tokens);
        self
    }

    /// Ends before any of these strings. Further calls add strings.
    ///
    /// # Errors
    /// [`Error::EmptyStop`]: an empty string would end every text before it begins.
    pub fn stop<S: Into<String>>(mut self, strings: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.decoder = self.decoder.stop(strings)?;
        Ok(self)
    }

    /// Ends with any of these tokens, as with the model's own end tokens. Further calls add tokens.
    #[must_use]
    pub fn stop_tokens(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.decoder = self.decoder.stop_tokens(ids);
        self
    }

    /// Goes on after the model's end tokens.
    #[must_use]
    pub fn ignore_eos(mut self, ignore: bool) -> Self {
        self.decoder = self.decoder.ignore_eos(ignore);
        self
    }

    /// Gives every token's [`Token::logprob`].
    #[must_use]
    pub fn logprobs(mut self, logprobs: bool) -> Self {
        self.decoder = self.decoder.logprobs(logprobs.then_some(0));
        self
    }

    /// Why it ended; `None` while it goes on, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.decoder.finish_reason()
    }

    /// All tokens so far, with the end token or stop token that ended it, which has no text.
    pub fn token_ids(&self) -> &[TokenId] {
        self.decoder.token_ids()
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let token = self.session.next_token(&mut self.decoder);
        self.failed = token.is_err();
        token.transpose()
    }
}

impl std::iter::FusedIterator for Generation<'_> {}
