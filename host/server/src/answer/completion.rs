//! Answers of `/v1/completions`.

use super::{Answer, Tally, finish_reason, spelling};
use crate::api::completions::{Completion, CompletionChoice, CompletionLogprobs};
use crate::scheduler::{Event, TokenLogprobs};
use edgellm::TokenId;

/// A plain completion.
#[derive(Debug)]
pub(crate) struct CompletionAnswer {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) tally: Tally,
    choices: Vec<Choice>,
}

/// One of the continuations, so far.
#[derive(Debug, Default)]
struct Choice {
    /// The prompt, where it is to be given too and was not yet.
    echo: Option<String>,
    /// Characters given.
    length: usize,
}

impl CompletionAnswer {
    /// One choice for each of `echoes`, which are the prompts where they are to be given too.
    pub(crate) fn new(id: String, created: u64, tally: Tally, echoes: Vec<Option<String>>) -> Self {
        let choices = echoes
            .into_iter()
            .map(|echo| Choice { length: echo.as_ref().map_or(0, |echo| echo.chars().count()), echo })
            .collect();
        CompletionAnswer { id, created, tally, choices }
    }

    fn piece(&self, choice: Option<CompletionChoice>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.tally.model.id.clone(),
            choices: choice.into_iter().collect(),
            usage: None,
        }
    }

    fn logprobs(&self, id: TokenId, offset: usize, logprobs: TokenLogprobs) -> CompletionLogprobs {
        let text = |id| spelling(&self.tally.model, id).0;
        CompletionLogprobs {
            tokens: vec![text(id)],
            token_logprobs: vec![logprobs.logprob],
            top_logprobs: vec![logprobs.top.into_iter().map(|(id, logprob)| (text(id), logprob)).collect()],
            text_offset: vec![offset],
        }
    }
}

impl Answer for CompletionAnswer {
    type Piece = Completion;
    type Whole = Completion;

    fn pieces(&mut self, event: Event) -> Vec<Completion> {
        let choice = match event {
            Event::Token { index, id, text, logprobs } => {
                let Some(choice) = self.choices.get_mut(index) else { return Vec::new() };
                let offset = choice.length;
                choice.length += text.chars().count();
                let text = choice.echo.take().unwrap_or_default() + &text;
                let logprobs = logprobs.map(|logprobs| self.logprobs(id, offset, logprobs));
                if text.is_empty() && logprobs.is_none() {
                    return Vec::new();
                }
                CompletionChoice { index, text, logprobs, finish_reason: None }
            }
            Event::Finished { index, reason, .. } => {
                let finish_reason = Some(finish_reason(reason));
                CompletionChoice { index, text: String::new(), logprobs: None, finish_reason }
            }
            Event::Started { .. } | Event::Embedded { .. } | Event::Failed(_) => return Vec::new(),
        };
        vec![self.piece(Some(choice))]
    }

    fn usage_piece(&self) -> Completion {
        Completion { usage: Some(self.tally.usage()), ..self.piece(None) }
    }

    fn whole(self, pieces: Vec<Completion>) -> Completion {
        let mut choices: Vec<CompletionChoice> = (0..self.choices.len())
            .map(|index| CompletionChoice { index, text: String::new(), logprobs: None, finish_reason: None })
            .collect();
        for piece in pieces.into_iter().flat_map(|piece| piece.choices) {
            let Some(choice) = choices.get_mut(piece.index) else { continue };
            choice.text.push_str(&piece.text);
            if let Some(more) = piece.logprobs {
                let all = choice.logprobs.get_or_insert_default();
                all.tokens.extend(more.tokens);
                all.token_logprobs.extend(more.token_logprobs);
                all.top_logprobs.extend(more.top_logprobs);
                all.text_offset.extend(more.text_offset);
            }
            choice.finish_reason = piece.finish_reason.or(choice.finish_reason);
        }
        Completion { choices, ..self.usage_piece() }
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
