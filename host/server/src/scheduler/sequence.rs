//! A running sequence: from a row of logits to its client's next token.

use super::event::{Event, Failure, TokenLogprobs};
use super::job::Choice;
use crate::metrics::ModelMetrics;
use edgellm::TokenId;
use edgellm::generate::{FinishReason, Token};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A sequence whose prompt is processed.
#[derive(Debug)]
pub(super) struct Sequence<S> {
    pub(super) session: S,
    /// The prompt and all generated tokens; the last one is not in the session yet.
    pub(super) tokens: Vec<TokenId>,
    pub(super) choice: Choice,
    /// Whether its prompt was scored. Then the log probabilities of all its tokens are shown, so that they are as many as
    /// the client counts.
    pub(super) scored: bool,
    pub(super) events: UnboundedSender<Event>,
    pub(super) deadline: Instant,
    /// When the last token was generated.
    pub(super) last: Instant,
    /// Pages reserved for it.
    pub(super) pages: u64,
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

impl<S> Sequence<S> {
    /// Decodes the next token from `logits`, which a grammar changes, and sends it to the client.
    pub(super) fn step(&mut self, logits: &mut [f32], metrics: &ModelMetrics) -> Outcome {
        let Choice { index, decoder, .. } = &mut self.choice;
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
            metrics.inter_token.observe((now - self.last).as_secs_f64());
        }
        self.last = now;
        let reason = decoder.finish_reason();
        // A token without text, such as the one that ends the answer, has no log probability to show either.
        let silent = reason == Some(FinishReason::Stop) && text.is_empty();
        let shown = decoder.has_logprobs() && (self.scored || !silent);
        let logprobs =
            shown.then(|| TokenLogprobs { logprob: logprob.unwrap_or(f32::MIN), top: top_logprobs });
        if self.events.send(Event::Token { index, id, text, logprobs }).is_err() {
            return Outcome::Cancelled;
        }
        reason.map_or(Outcome::Continues, |reason| self.finish(reason))
    }

    /// Ends it because its deadline has passed.
    pub(super) fn expire(&mut self) -> Outcome {
        let (index, id) = (self.choice.index, *self.tokens.last().unwrap_or(&0));
        let text = self.choice.decoder.end(FinishReason::Length);
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
    pub(super) fn fail(&mut self, failure: Failure) -> Outcome {
        let _ = self.events.send(Event::Failed(failure));
        Outcome::Failed
    }

    fn finish(&mut self, reason: FinishReason) -> Outcome {
        match self.events.send(Event::Finished { index: self.choice.index, reason }) {
            Ok(()) => Outcome::Ended(reason),
            Err(_) => Outcome::Cancelled,
        }
    }
}
