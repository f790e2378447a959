//! An answer in progress, in the JSON of whichever endpoint.

use super::format::{Format, GeneratedToken, Head};
use super::tally::Tally;
use crate::clock::now;
use crate::error::ApiError;
use crate::random::random;
use crate::scheduler::Event;
use edgellm::generate::FinishReason;
use tokio::sync::mpsc::UnboundedReceiver;

/// Builds the pieces of a streamed answer from events, and a whole answer from the same deltas.
#[derive(Debug)]
pub(crate) struct AnswerBuilder<F> {
    head: Head,
    pub(super) tally: Tally,
    format: F,
}

impl<F: Format> AnswerBuilder<F> {
    /// An answer in `format`, with an identifier of its own.
    pub(crate) fn new(tally: Tally, format: F) -> Self {
        let id = format!("{}-{:016x}", F::ID, random());
        let head = Head { id, created: now(), model: tally.model.id.clone() };
        AnswerBuilder { head, tally, format }
    }

    /// Waits for the whole answer.
    ///
    /// # Errors
    /// If the job failed.
    pub(crate) async fn collect(
        mut self,
        mut events: UnboundedReceiver<Event>,
    ) -> Result<F::Whole, ApiError> {
        let mut choices: Vec<F::Choice> = (0..self.format.choices()).map(F::choice).collect();
        while self.tally.open > 0 {
            match events.recv().await {
                Some(Event::Failed(failure)) => {
                    self.tally.outcome = "failed";
                    return Err(failure.into());
                }
                Some(event) => {
                    for delta in self.deltas(event) {
                        if let Some(choice) = choices.get_mut(F::index(&delta)) {
                            F::append(choice, delta);
                        }
                    }
                }
                None => return Err(ApiError::scheduler_gone()),
            }
        }
        self.tally.outcome = "complete";
        Ok(F::whole(self.head, choices, self.tally.usage()))
    }

    /// The pieces that an event adds to the stream.
    pub(super) fn pieces(&mut self, event: Event) -> Vec<F::Piece> {
        let deltas = self.deltas(event);
        deltas.into_iter().map(|delta| F::piece(self.head.clone(), Some(delta), None)).collect()
    }

    /// The last piece of a stream whose client wants the usage.
    pub(super) fn usage_piece(&self) -> F::Piece {
        F::piece(self.head.clone(), None, Some(self.tally.usage()))
    }

    fn deltas(&mut self, event: Event) -> Vec<F::Delta> {
        self.tally.count(&event);
        match event {
            Event::Token { index, id, text, logprobs } => {
                let token = GeneratedToken { id, text, logprobs };
                self.format.token(&self.tally.model, index, token).into_iter().collect()
            }
            Event::Scored { index, scores } => {
                self.format.scored(&self.tally.model, index, &scores).into_iter().collect()
            }
            Event::Finished { index, reason, .. } => self.format.finished(index, finish_reason(reason)),
            Event::Started { .. } | Event::Embedded { .. } | Event::Failed(_) => Vec::new(),
        }
    }
}

/// OpenAI's word for why an answer ended.
fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::ContextFull => "length",
    }
}
