//! The token loop: logits to tokens to text, until something says stop.

mod stop;
#[cfg(test)]
mod tests;

use crate::tokenizer::TokenStream;
use crate::{Error, Model, Session, TokenId, sampler::Sampler, sampler::log_probability};
use stop::StopStrings;

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
    model: Model,
    /// After the prompt; taken by the first token.
    first: Option<Vec<f32>>,
    max_tokens: usize,
    stops: StopStrings,
    stop_tokens: Vec<TokenId>,
    ignore_eos: bool,
    logprobs: bool,
    stream: TokenStream,
    token_ids: Vec<TokenId>,
    finish_reason: Option<FinishReason>,
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
        let model = self.model().clone();
        let stream = TokenStream::new(model.tokenizer(), true);
        Ok(Generation {
            session: self,
            sampler,
            model,
            first,
            max_tokens: usize::MAX,
            stops: StopStrings::default(),
            stop_tokens: Vec::new(),
            ignore_eos: false,
            logprobs: false,
            stream,
            token_ids: Vec::new(),
            finish_reason: None,
            failed: false,
        })
    }
}

impl Generation<'_> {
    /// At most so many tokens; without it, until the session is full.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Ends before any of these strings comes. Called again, it adds strings.
    ///
    /// # Errors
    /// [`Error::EmptyStop`]: an empty string would end every text before it begins.
    pub fn stop<S: Into<String>>(mut self, strings: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        for string in strings {
            let string = string.into();
            if string.is_empty() {
                return Err(Error::EmptyStop);
            }
            self.stops.add(string);
        }
        Ok(self)
    }

    /// Ends with any of these tokens, as with the model's own end tokens. Called again, it adds tokens.
    #[must_use]
    pub fn stop_tokens(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.stop_tokens.extend(ids);
        self
    }

    /// Goes on after the model's end tokens.
    #[must_use]
    pub fn ignore_eos(mut self, ignore: bool) -> Self {
        self.ignore_eos = ignore;
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
        self.finish_reason
    }

    /// All tokens so far, with the end token or stop token that ended it, which has no text.
    pub fn token_ids(&self) -> &[TokenId] {
        &self.token_ids
    }

    /// Chooses the next token.
    fn choose(&mut self) -> Result<(TokenId, Option<f32>), Error> {
        let first;
        let logits = match (self.first.take(), self.token_ids.last()) {
            (None, Some(&last)) => &*self.session.decode(last)?,
            (logits, _) => {
                first = logits.unwrap_or_default();
                &first
            }
        };
        let id = self.sampler.sample(logits);
        Ok((id, if self.logprobs { log_probability(logits, id) } else { None }))
    }

    /// Whether this token ends the text and is not part of it.
    fn ends(&self, id: TokenId) -> bool {
        self.stop_tokens.contains(&id) || !self.ignore_eos && self.model.config().eos_token_ids.contains(&id)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finish_reason.is_some() || self.failed {
            return None;
        }
        if self.max_tokens == 0 {
            self.finish_reason = Some(FinishReason::Length);
            return None;
        }
        let (id, logprob) = match self.choose() {
            Ok(chosen) => chosen,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        self.token_ids.push(id);
        let (mut text, mut new) = (String::new(), String::new());
        let ends = self.ends(id);
        if !ends {
            self.stream.push(self.model.tokenizer(), id, &mut new);
        }
        let full = self.session.position() >= self.session.capacity();
        let reason = if ends {
            Some(FinishReason::Stop)
        } else if self.token_ids.len() >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            full.then_some(FinishReason::ContextFull)
        };
        if reason.is_some() {
            self.stream.finish(self.model.tokenizer(), &mut new);
        }
        self.finish_reason = if self.stops.push(&new, &mut text) { Some(FinishReason::Stop) } else { reason };
        if reason.is_some() {
            self.stops.finish(&mut text);
        }
        Some(Ok(Token { id, text, logprob }))
    }
}

impl std::iter::FusedIterator for Generation<'_> {}
