//! Jobs: prompts, and what to do with them.

use super::event::Event;
use super::pages::pages;
use edgellm::TokenId;
use edgellm::generate::Decoder;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A prompt, and what to do with it.
#[derive(Debug)]
pub(crate) struct Job {
    /// Not empty, and shorter than the context.
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) task: Task,
    /// Give the log probabilities of the prompt's tokens, with this many of the most likely ones in the place of each.
    pub(crate) scores: Option<usize>,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
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
    /// How many sequences it takes.
    pub(super) fn places(&self) -> usize {
        match &self.task {
            Task::Generate(choices) => choices.len(),
            Task::Embed(_) => 1,
        }
    }

    /// Pages of the KV cache that it may come to need.
    pub(super) fn pages(&self) -> u64 {
        match &self.task {
            Task::Generate(choices) => {
                choices.iter().map(|choice| pages(self.prompt.len() + choice.max_tokens)).sum()
            }
            Task::Embed(_) => pages(self.prompt.len()),
        }
    }

    /// Whether the client has gone away.
    pub(super) fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }
}
