//! Jobs: prompts, and what to do with them.

use super::event::{Event, Failure};
use super::pages::pages;
use crate::access::Client;
use edgellm::TokenId;
use edgellm::generate::{Decoder, FinishReason};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A prompt, and what to do with it.
#[derive(Debug)]
pub(crate) struct Job {
    /// Whose turn it takes.
    pub(crate) client: Client,
    /// Not empty, and shorter than the context.
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) task: Task,
    /// Give the log probabilities of the prompt's tokens, with this many of the most likely ones in the place of each.
    pub(crate) scores: Option<usize>,
    /// Whether its prompt has been processed, and only these choices have no place yet.
    pub(crate) begun: bool,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    /// All jobs of a request have the same channel.
    pub(crate) events: UnboundedSender<Event>,
}

/// What to do with a prompt.
#[derive(Debug)]
pub(crate) enum Task {
    /// Generate these answers, at least one.
    Generate(Vec<Choice>),
    /// Compute the mean of its hidden states. The number is the `index` of the result.
    Embed(usize),
}

/// One of the answers to a prompt.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The `index` of its events.
    pub(crate) index: usize,
    /// The longest answer, which may have no token; prompt and answer fit into the context.
    pub(crate) max_tokens: usize,
    /// Has accepted the prompt.
    pub(crate) decoder: Decoder,
}

impl Job {
    /// How many sequences it comes to.
    pub(super) fn places(&self) -> usize {
        match &self.task {
            Task::Generate(choices) => choices.len(),
            Task::Embed(_) => 1,
        }
    }

    /// Pages of the KV cache that its longest sequence may come to need.
    pub(super) fn pages(&self) -> u64 {
        let longest = match &self.task {
            Task::Generate(choices) => choices.iter().map(|choice| choice.max_tokens).max(),
            Task::Embed(_) => None,
        };
        pages(self.prompt.len() + longest.unwrap_or(0))
    }

    /// Whether it computes an embedding.
    pub(super) fn embeds(&self) -> bool {
        matches!(self.task, Task::Embed(_))
    }

    /// How many of the most likely tokens to give with those of the prompt, if it is still to be scored.
    pub(super) fn scoring(&self) -> Option<usize> {
        self.scores.filter(|_| !self.begun)
    }

    /// Whether the client has gone away.
    pub(super) fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells the client that it ends unfinished: choices of a processed prompt as answers without a token, anything else as
    /// a failure.
    pub(super) fn give_up(&self, why: Failure) {
        // Whether the channel is closed makes no difference.
        match &self.task {
            Task::Generate(choices) if self.begun => {
                for &Choice { index, .. } in choices {
                    let _ = self.events.send(Event::Finished { index, reason: FinishReason::Length });
                }
            }
            _ => {
                let _ = self.events.send(Event::Failed(why));
            }
        }
    }
}
