//! A sequence at work: from logits to its client's next token.

use super::{Choice, Event, Failure, TokenLogprobs};
use crate::metrics::ModelMetrics;
use crate::runner;
use edgellm::TokenId;
use edgellm::generate::FinishReason;
use edgellm::sampler::{log_probability, top_log_probabilities};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A sequence that has its prompt behind it.
#[derive(Debug)]
pub(super) struct Sequence<S> {
    pub(super) session: S,
    /// The prompt and all tokens chosen since; the last one is not in the session yet.
    pub(super) tokens: Vec<TokenId>,
    pub(super) choice: Choice,
    pub(super) events: UnboundedSender<Event>,
    pub(super) deadline: Instant,
    /// When the last token was chosen.
    pub(super) last: Instant,
    /// Pages set aside for it.
    pub(super) pages: u64,
}

/// How a sequence stands after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Goes,
    Ended(FinishReason),
    /// Nobody listens any longer.
    Cancelled,
    Failed,
}

impl Outcome {
    /// For the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Goes => "",
            Outcome::Ended(FinishReason::Stop) => "stop",
            Outcome::Ended(FinishReason::Length | FinishReason::ContextFull) => "length",
            Outcome::Cancelled => "cancelled",
            Outcome::Failed => "failed",
        }
    }
}

impl<S: runner::Sequence> Sequence<S> {
    /// Chooses the next token from `logits`, which it changes, and tells the client.
    pub(super) fn choose(&mut self, logits: &mut [f32], metrics: &ModelMetrics) -> Outcome {
        let Choice { index, sampler, continuation, constraint, logprobs, .. } = &mut self.choice;
        let index = *index;
        // Probabilities are the model's, before the grammar and the sampler change anything.
        let unmasked = (logprobs.is_some() && constraint.is_some()).then(|| logits.to_vec());
        if let Some(Err(error)) = constraint.as_mut().map(|constraint| constraint.mask(logits)) {
            return self.fail(&error.to_string());
        }
        let id = sampler.sample(logits);
        let complete =
            match constraint.as_mut().map(|constraint| (constraint.accept(id), constraint.is_complete())) {
                Some((Err(error), _)) => return self.fail(&error.to_string()),
                Some((Ok(()), complete)) => complete,
                None => false,
            };
        let original = unmasked.as_deref().unwrap_or(logits);
        let logprobs = logprobs.map(|count| TokenLogprobs {
            logprob: log_probability(original, id).unwrap_or(f32::MIN),
            top: top_log_probabilities(original, count),
        });
        let full = self.session.position() >= self.session.capacity();
        let mut text = continuation.push(id, full);
        if complete {
            text.push_str(&continuation.end(FinishReason::Stop));
        }
        self.tokens.push(id);
        metrics.completion_tokens.inc();
        let now = Instant::now();
        if continuation.token_ids().len() > 1 {
            metrics.inter_token.observe((now - self.last).as_secs_f64());
        }
        self.last = now;
        // A token without text, such as the one that ends the answer, has no probability to show either.
        let shown =
            logprobs.filter(|_| continuation.finish_reason() != Some(FinishReason::Stop) || !text.is_empty());
        let reason = continuation.finish_reason();
        if self.events.send(Event::Token { index, id, text, logprobs: shown }).is_err() {
            return Outcome::Cancelled;
        }
        reason.map_or(Outcome::Goes, |reason| self.finish(reason))
    }

    /// Ends it because its time is up.
    pub(super) fn expire(&mut self) -> Outcome {
        let (index, id) = (self.choice.index, *self.tokens.last().unwrap_or(&0));
        let text = self.choice.continuation.end(FinishReason::Length);
        if !text.is_empty() {
            // A closed channel is found out by the next send.
            let _ = self.events.send(Event::Token { index, id, text, logprobs: None });
        }
        self.finish(FinishReason::Length)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells the client that the job failed.
    pub(super) fn fail(&mut self, message: &str) -> Outcome {
        let _ = self.events.send(Event::Failed(Failure::Internal(message.to_string())));
        Outcome::Failed
    }

    fn finish(&mut self, reason: FinishReason) -> Outcome {
        match self.events.send(Event::Finished { index: self.choice.index, reason }) {
            Ok(()) => Outcome::Ended(reason),
            Err(_) => Outcome::Cancelled,
        }
    }
}
