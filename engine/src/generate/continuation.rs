//! From tokens to text, until something ends it.

use super::FinishReason;
use super::stop::{StopFilter, StopStrings};
use crate::tokenizer::TokenStream;
use crate::{Model, TokenId};

/// The text of a sequence of tokens, and when it ends.
#[derive(Clone, Debug)]
pub(super) struct Continuation {
    model: Model,
    max_tokens: usize,
    /// Tokens that the session has room for; one more may be chosen.
    room: usize,
    stops: StopFilter,
    stop_tokens: Vec<TokenId>,
    ignore_eos: bool,
    stream: TokenStream,
    token_ids: Vec<TokenId>,
    finish_reason: Option<FinishReason>,
}

impl Continuation {
    /// The text of this model's tokens without special ones, up to an end token. It continues another text, unless
    /// [`Continuation::after`] finds none.
    pub(super) fn new(model: &Model) -> Self {
        Continuation {
            model: model.clone(),
            max_tokens: usize::MAX,
            room: usize::MAX,
            stops: StopFilter::default(),
            stop_tokens: Vec::new(),
            ignore_eos: false,
            stream: TokenStream::continuing(true),
            token_ids: Vec::new(),
            finish_reason: None,
        }
    }

    /// Comes after the tokens of `prompt`, before the first token is added.
    pub(super) fn after(&mut self, prompt: &[TokenId]) {
        let tokenizer = self.model.tokenizer();
        self.stream = if tokenizer.begins_text(prompt) {
            TokenStream::new(tokenizer, true)
        } else {
            TokenStream::continuing(true)
        };
    }

    /// Ends after this many tokens; with 0 it has ended before it begins.
    pub(super) fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self.finish_reason = (max_tokens == 0).then_some(FinishReason::Length);
        self
    }

    /// Ends when no room is left of that for this many tokens.
    pub(super) fn room(mut self, tokens: usize) -> Self {
        self.room = tokens;
        self
    }

    /// Ends before any of these strings. Further calls add strings.
    pub(super) fn stop(mut self, strings: StopStrings) -> Self {
        self.stops.add(strings);
        self
    }

    /// Ends with any of these tokens, as with the model's own end tokens. Further calls add tokens.
    pub(super) fn stop_tokens(mut self, ids: impl IntoIterator<Item = TokenId>) -> Self {
        self.stop_tokens.extend(ids);
        self
    }

    /// Goes on after the model's end tokens.
    pub(super) fn ignore_eos(mut self, ignore: bool) -> Self {
        self.ignore_eos = ignore;
        self
    }

    /// Why it ended; `None` while it goes on.
    pub(super) fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// All tokens so far, with the end token or stop token that ended it, which has no text.
    pub(super) fn token_ids(&self) -> &[TokenId] {
        &self.token_ids
    }

    /// Adds the next token and returns the text that became certain with it: often its own, none while a character is
    /// incomplete or a stop string may be coming, and more than its own afterwards. After the end it returns nothing.
    pub(super) fn push(&mut self, id: TokenId) -> String {
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
            (self.token_ids.len() > self.room).then_some(FinishReason::ContextFull)
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
    pub(super) fn end(&mut self, reason: FinishReason) -> String {
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
