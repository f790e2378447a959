//! The JSON of `/v1/completions`.

use super::format::{Format, GeneratedToken, Head};
use super::spelling::spelling;
use crate::api::completions::{Completion, CompletionChoice, CompletionLogprobs};
use crate::api::usage::Usage;
use crate::registry::Loaded;
use crate::scheduler::TokenLogprobs;
use edgellm::TokenId;

/// Plain completions.
#[derive(Debug)]
pub(crate) struct CompletionFormat(Vec<State>);

/// The state of one choice.
#[derive(Debug)]
struct State {
    /// The prompt, if the answer repeats it and has not yet.
    echo: Option<String>,
    /// Characters written.
    length: usize,
}

impl CompletionFormat {
    /// One choice for each of `echoes`: the prompts that answers begin with, if any.
    pub(crate) fn new(echoes: Vec<Option<String>>) -> Self {
        let state = |echo: Option<String>| State {
            length: echo.as_ref().map_or(0, |echo| echo.chars().count()),
            echo,
        };
        CompletionFormat(echoes.into_iter().map(state).collect())
    }
}

/// The log probabilities of one token.
fn token_logprobs(model: &Loaded, id: TokenId, offset: usize, logprobs: TokenLogprobs) -> CompletionLogprobs {
    let text = |id| spelling(model, id).0;
    CompletionLogprobs {
        tokens: vec![text(id)],
        token_logprobs: vec![logprobs.logprob],
        top_logprobs: vec![logprobs.top.into_iter().map(|(id, logprob)| (text(id), logprob)).collect()],
        text_offset: vec![offset],
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

    fn token(&mut self, model: &Loaded, index: usize, token: GeneratedToken) -> Option<CompletionChoice> {
        let GeneratedToken { id, text, logprobs } = token;
        let state = self.0.get_mut(index)?;
        let offset = state.length;
        state.length += text.chars().count();
        let text = state.echo.take().unwrap_or_default() + &text;
        let logprobs = logprobs.map(|logprobs| token_logprobs(model, id, offset, logprobs));
        let silent = text.is_empty() && logprobs.is_none();
        (!silent).then_some(CompletionChoice { index, text, logprobs, finish_reason: None })
    }

    fn finished(&mut self, index: usize, reason: &'static str) -> Vec<CompletionChoice> {
        vec![CompletionChoice { finish_reason: Some(reason), ..Self::choice(index) }]
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
