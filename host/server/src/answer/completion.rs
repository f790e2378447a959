//! The JSON of `/v1/completions`.

use super::echo::Echo;
use super::format::{Format, GeneratedToken, Head};
use super::spelling::spelling;
use crate::api::completions::{Completion, CompletionChoice, CompletionLogprobs};
use crate::api::usage::Usage;
use crate::registry::Loaded;
use crate::scheduler::TokenLogprobs;
use edgellm::TokenId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Plain completions.
#[derive(Debug)]
pub(crate) struct CompletionFormat(Vec<State>);

/// The state of one choice.
#[derive(Debug)]
struct State {
    /// The prompt, if the answer repeats it and has not yet.
    echo: Option<Arc<Echo>>,
    /// Characters written.
    length: usize,
}

impl CompletionFormat {
    /// One choice for each of `echoes`: the prompts that answers begin with, if any.
    pub(crate) fn new(echoes: Vec<Option<Arc<Echo>>>) -> Self {
        let state = |echo: Option<Arc<Echo>>| State {
            length: echo.as_ref().map_or(0, |echo| echo.text.chars().count()),
            echo,
        };
        CompletionFormat(echoes.into_iter().map(state).collect())
    }
}

impl State {
    /// The prompt, where the answer begins with it and has not begun.
    fn begin(&mut self) -> String {
        self.echo.take().map(|echo| echo.text.clone()).unwrap_or_default()
    }
}

impl CompletionLogprobs {
    /// Adds a token; the first of a prompt has no log probability.
    fn push(&mut self, model: &Loaded, id: TokenId, offset: usize, logprobs: Option<&TokenLogprobs>) {
        let text = |id| match spelling(model, id) {
            // As with OpenAI: parts of characters would all be the same text.
            (text, Some(bytes)) if text.contains(char::REPLACEMENT_CHARACTER) => {
                bytes.iter().fold("bytes:".to_string(), |text, byte| format!("{text}\\x{byte:02x}"))
            }
            (text, _) => text,
        };
        self.tokens.push(text(id));
        self.token_logprobs.push(logprobs.map(|logprobs| logprobs.logprob));
        self.top_logprobs.push(logprobs.map(|logprobs| {
            let mut top = BTreeMap::new();
            for &(id, logprob) in &logprobs.top {
                // Of tokens with the same text, the most likely counts.
                top.entry(text(id)).or_insert(logprob);
            }
            top
        }));
        self.text_offset.push(offset);
    }
}

impl Format for CompletionFormat {
    type Delta = CompletionChoice;
    type Choice = CompletionChoice;
    type Piece = Completion;
    type Whole = Completion;

    const ID: &'static str = "cmpl";

    fn choices(&self) -> usize {
        self.0.len()
    }

    fn scored(&mut self, model: &Loaded, index: usize, scores: &[TokenLogprobs]) -> Option<CompletionChoice> {
        let echo = self.0.get_mut(index)?.echo.take()?;
        let mut logprobs = CompletionLogprobs::default();
        let offsets = echo.offsets(model.model.tokenizer());
        let scores = std::iter::once(None).chain(scores.iter().map(Some));
        for ((&id, offset), score) in echo.tokens.iter().zip(offsets).zip(scores) {
            logprobs.push(model, id, offset, score);
        }
        let text = echo.text.clone();
        Some(CompletionChoice { text, logprobs: Some(logprobs), ..Self::choice(index) })
    }

    fn token(&mut self, model: &Loaded, index: usize, token: GeneratedToken) -> Option<CompletionChoice> {
        let GeneratedToken { id, text, logprobs } = token;
        let state = self.0.get_mut(index)?;
        let offset = state.length;
        state.length += text.chars().count();
        let text = state.begin() + &text;
        let logprobs = logprobs.map(|logprobs| {
            let mut one = CompletionLogprobs::default();
            one.push(model, id, offset, Some(&logprobs));
            one
        });
        let silent = text.is_empty() && logprobs.is_none();
        (!silent).then_some(CompletionChoice { index, text, logprobs, finish_reason: None })
    }

    fn finished(&mut self, index: usize, reason: &'static str) -> Vec<CompletionChoice> {
        let text = self.0.get_mut(index).map(State::begin).unwrap_or_default();
        vec![CompletionChoice { text, finish_reason: Some(reason), ..Self::choice(index) }]
    }

    fn piece(head: Head, delta: Option<CompletionChoice>, usage: Option<Usage>) -> Completion {
        let Head { id, created, model } = head;
        let choices = delta.into_iter().collect();
        Completion { id, object: "text_completion", created, model, choices, usage }
    }

    fn choice(index: usize) -> CompletionChoice {
        CompletionChoice { index, text: String::new(), logprobs: None, finish_reason: None }
    }

    fn index(delta: &CompletionChoice) -> usize {
        delta.index
    }

    fn append(choice: &mut CompletionChoice, delta: CompletionChoice) {
        choice.text.push_str(&delta.text);
        if let Some(more) = delta.logprobs {
            let all = choice.logprobs.get_or_insert_default();
            all.tokens.extend(more.tokens);
            all.token_logprobs.extend(more.token_logprobs);
            all.top_logprobs.extend(more.top_logprobs);
            all.text_offset.extend(more.text_offset);
        }
        choice.finish_reason = delta.finish_reason.or(choice.finish_reason);
    }

    fn whole(head: Head, choices: Vec<CompletionChoice>, usage: Usage) -> Completion {
        Completion { choices, ..Self::piece(head, None, Some(usage)) }
    }
}
