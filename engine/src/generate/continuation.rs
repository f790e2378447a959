//! What becomes of chosen tokens: text as it gets certain, until something says stop.

use super::FinishReason;
use super::stop::StopStrings;
use crate::tokenizer::TokenStream;
use crate::{Error, Model, TokenId};

/// The text of chosen tokens and its end: what [`super::Generation`] does after a token is chosen, for those who
/// run the model themselves, as a server does that decodes many sequences together.
///
/// ```no_run
/// # fn run(model: edgellm::Model, mut choose: impl FnMut() -> u32) -> Result<(), edgellm::Error> {
/// let mut continuation = edgellm::generate::Continuation::new(&model).max_tokens(100).stop(["The end"])?;
/// while continuation.finish_reason().is_none() {
///     print!("{}", continuation.push(choose(), false));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Continuation {
    model: Model,
    max_tokens: usize,
    stops: StopStrings,
    stop_tokens: Vec<TokenId>,
    ignore_eos: bool,
    stream: TokenStream,
    token_ids: Vec<TokenId>,
    finish_reason: Option<FinishReason>,
}

impl Continuation {
    /// Text of this model's tokens, without its special ones, up to one that ends an answer.
    pub fn new(model: &Model) -> Self {
        Continuation {
            model: model.clone(),
            max_tokens: usize::MAX,
            stops: StopStrings::default(),
            stop_tokens: Vec::new(),
            ignore_eos: false,
            stream: TokenStream::new(model.tokenizer(), true),
            token_ids: Vec::new(),
            finish_reason: None,
        }
    }

    /// At most so many tokens; with 0 it has ended before it begins.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self.finish_reason = (max_tokens == 0).then_some(FinishReason::Length);
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

    /// Why it ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// All tokens so far, with the end token or stop token that ended it, which has no text.
    pub fn token_ids(&self) -> &[TokenId] {
        &self.token_ids
    }

    /// Takes the next token and returns the text that became certain with it: often its own, none while a character
    /// is incomplete or a stop string may be coming, and more than its own afterwards. `full` says that there is no
    /// room for another. After the end it returns nothing.
    pub fn push(&mut self, id: TokenId, full: bool) -> String {
        let mut text = String::new();
        if self.finish_reason.is_some() {
            return text;
        }
        self.token_ids.push(id);
        let mut new = String::new();
        let ends = self.ends(id);
        if !ends {
            self.stream.push(self.model.tokenizer(), id, &mut new);
        }
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
        text
    }

    /// Ends it now for `reason`, unless it has ended, and returns the text that was held back.
    pub fn end(&mut self, reason: FinishReason) -> String {
        let (mut text, mut new) = (String::new(), String::new());
        if self.finish_reason.is_none() {
            self.stream.finish(self.model.tokenizer(), &mut new);
            let stopped = self.stops.push(&new, &mut text);
            self.stops.finish(&mut text);
            self.finish_reason = Some(if stopped { FinishReason::Stop } else { reason });
        }
        text
    }

    /// Whether this token ends the text and is not part of it.
    fn ends(&self, id: TokenId) -> bool {
        self.stop_tokens.contains(&id) || !self.ignore_eos && self.model.config().eos_token_ids.contains(&id)
    }
}
