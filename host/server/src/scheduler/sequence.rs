//! A sequence: its prompt is processed, then its client gets token after token.

use super::event::{Event, Failure, TokenLogprobs};
use super::job::{Choice, Job};
use crate::access::Client;
use crate::metrics::ModelMetrics;
use crate::runner::{RunnerError, RunnerSession};
use edgellm::TokenId;
use edgellm::generate::{FinishReason, Token};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A sequence that has a place, or has had one and is paused.
#[derive(Debug)]
pub(super) struct Sequence<S> {
    /// Sequences are numbered as they start.
    pub(super) number: u64,
    pub(super) client: Client,
    pub(super) session: S,
    /// The prompt and all generated tokens. The last ones are not in the session yet.
    pub(super) tokens: Vec<TokenId>,
    pub(super) stage: Stage,
    pub(super) events: UnboundedSender<Event>,
    pub(super) deadline: Instant,
    /// Pages that it may come to need.
    pub(super) pages: u64,
    /// Whether these are reserved for it. Otherwise its session is empty.
    pub(super) resident: bool,
    /// Tokens generated since they are.
    pub(super) gained: usize,
}

/// What a sequence is at.
#[derive(Debug)]
pub(super) enum Stage {
    Prompt(Prompt),
    Answer(Box<Answer>),
}

/// A prompt being processed.
#[derive(Debug)]
pub(super) struct Prompt {
    /// Without its prompt, which is the sequence's tokens.
    pub(super) job: Job,
    /// Sum of the hidden states so far, for an embedding.
    pub(super) sum: Vec<f64>,
    /// Log probabilities of the prompt's tokens so far, from the second on, if the job asks for them.
    pub(super) scores: Vec<TokenLogprobs>,
}

/// An answer being generated.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) choice: Choice,
    /// Whether its prompt was scored. Then the log probabilities of all its tokens are shown, so that they are as many as
    /// the client counts.
    pub(super) scored: bool,
    /// When the last token was generated.
    pub(super) last: Instant,
}

/// The state of a sequence after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Continues,
    Ended(FinishReason),
    /// The client has gone away.
    Cancelled,
    Failed,
}

impl Outcome {
    /// For the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Continues => "",
            Outcome::Ended(FinishReason::Stop) => "stop",
            Outcome::Ended(FinishReason::Length | FinishReason::ContextFull) => "length",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
        }
    }
}

impl<S: RunnerSession> Sequence<S> {
    /// Tokens that the session does not hold yet: of an answer that goes on, one.
    pub(super) fn left(&self) -> usize {
        self.tokens.len() - self.session.position()
    }

    /// Whether the next token of its answer takes only one to process.
    pub(super) fn decodes(&self) -> bool {
        matches!(self.stage, Stage::Answer(_)) && self.left() == 1
    }

    /// Whether it computes an embedding.
    pub(super) fn embeds(&self) -> bool {
        matches!(&self.stage, Stage::Prompt(prompt) if prompt.job.embeds())
    }

    /// Whether each token of the prompt is to be scored.
    pub(super) fn is_scored(&self) -> bool {
        matches!(&self.stage, Stage::Prompt(prompt) if prompt.job.scoring().is_some())
    }

    /// How many sequences it will become.
    pub(super) fn places(&self) -> usize {
        match &self.stage {
            Stage::Prompt(prompt) => prompt.job.places(),
            Stage::Answer(_) => 1,
        }
    }

    /// Drops its KV cache. What it has processed is processed again when it goes on, which gives the same bits.
    ///
    /// # Errors
    /// If the runner is broken.
    pub(super) fn evict(&mut self) -> Result<(), RunnerError> {
        // An empty session has no pages; a truncated one would keep them.
        self.session = self.session.fork(0)?;
        self.resident = false;
        if let Stage::Prompt(prompt) = &mut self.stage {
            prompt.scores.clear();
            prompt.sum.fill(0.0);
        }
        Ok(())
    }

    /// Decodes the next token from `logits`, which a grammar changes, and sends it to the client.
    pub(super) fn step(&mut self, logits: &mut [f32], metrics: &ModelMetrics) -> Outcome {
        let Stage::Answer(answer) = &mut self.stage else { return Outcome::Continues };
        let Answer { choice, scored, last } = &mut **answer;
        let Choice { index, decoder, .. } = choice;
        let index = *index;
        if let Some(reason) = decoder.finish_reason() {
            // An answer without tokens.
            return self.finish(reason);
        }
        let Token { id, text, logprob, top_logprobs } = match decoder.step(logits) {
            Ok(token) => token,
            Err(_) => {
                // The error can quote the schema, which is part of a prompt.
                tracing::warn!("a grammar cannot go on");
                return self.fail(Failure::DeadEnd);
            }
        };
        self.tokens.push(id);
        metrics.completion_tokens.inc();
        let now = Instant::now();
        if decoder.token_ids().len() > 1 {
            metrics.inter_token.observe((now - *last).as_secs_f64());
        }
        *last = now;
        self.gained += 1;
        let reason = decoder.finish_reason();
        // A token without text, such as the one that ends the answer, has no log probability to show either.
        let silent = reason == Some(FinishReason::Stop) && text.is_empty();
        let shown = decoder.has_logprobs() && (*scored || !silent);
        let logprobs =
            shown.then(|| TokenLogprobs { logprob: logprob.unwrap_or(f32::MIN), top: top_logprobs });
        if self.events.send(Event::Token { index, id, text, logprobs }).is_err() {
            return Outcome::Cancelled;
        }
        reason.map_or(Outcome::Continues, |reason| self.finish(reason))
    }

    /// Ends it before its time, because of `why`. An answer ends where it is.
    pub(super) fn expire(&mut self, why: Failure) -> Outcome {
        let choice = match &mut self.stage {
            Stage::Answer(answer) => &mut answer.choice,
            Stage::Prompt(prompt) => {
                prompt.job.give_up(why);
                return Outcome::Failed;
            }
        };
        let (index, id) = (choice.index, *self.tokens.last().unwrap_or(&0));
        let text = choice.decoder.end(FinishReason::Length);
        if !text.is_empty() {
            // The next send finds out whether the channel is closed.
            let _ = self.events.send(Event::Token { index, id, text, logprobs: None });
        }
        self.finish(FinishReason::Length)
    }

    /// Whether the client has gone away.
    pub(super) fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells the client that the job failed.
    pub(super) fn fail(&self, failure: Failure) -> Outcome {
        let _ = self.events.send(Event::Failed(failure));
        Outcome::Failed
    }

    fn finish(&self, reason: FinishReason) -> Outcome {
        let Stage::Answer(answer) = &self.stage else { return Outcome::Failed };
        match self.events.send(Event::Finished { index: answer.choice.index, reason }) {
            Ok(()) => Outcome::Ended(reason),
            Err(_) => Outcome::Cancelled,
        }
    }
}
