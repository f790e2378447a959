//! What an answer has cost.

use crate::api::usage::Usage;
use crate::registry::Loaded;
use crate::request_id::RequestId;
use crate::scheduler::Event;
use std::sync::Arc;
use std::time::Instant;

/// Counts an answer's tokens. Logs them when it is dropped, however the request ended.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) request: RequestId,
    pub(crate) model: Arc<Loaded>,
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) cached_tokens: usize,
    /// Choices or embeddings that are not complete.
    pub(crate) open: usize,
    pub(crate) outcome: &'static str,
    pub(crate) user: Option<String>,
    /// The text of the answer, where it is logged.
    pub(crate) text: Option<String>,
    started: Instant,
}

impl Tally {
    /// For a request of `open` choices or embeddings.
    pub(crate) fn new(request: RequestId, model: Arc<Loaded>, prompt_tokens: usize, open: usize) -> Self {
        Tally {
            request,
            model,
            prompt_tokens,
            completion_tokens: 0,
            cached_tokens: 0,
            open,
            outcome: "disconnected",
            user: None,
            text: None,
            started: Instant::now(),
        }
    }

    /// Counts an event.
    pub(crate) fn count(&mut self, event: &Event) {
        match event {
            Event::Started { cached } => self.cached_tokens += cached,
            Event::Token { text, .. } => {
                self.completion_tokens += 1;
                if let Some(all) = &mut self.text {
                    all.push_str(text);
                }
            }
            Event::Finished { .. } | Event::Embedded { .. } => self.open = self.open.saturating_sub(1),
            Event::Scored { .. } | Event::Failed(_) => {}
        }
    }

    /// The usage so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage::new(self.prompt_tokens, self.completion_tokens, self.cached_tokens)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        tracing::info!(
            request_id = self.request.0,
            model = self.model.id,
            prompt_tokens = self.prompt_tokens,
            cached_tokens = self.cached_tokens,
            completion_tokens = self.completion_tokens,
            ms = self.started.elapsed().as_millis() as u64,
            user = self.user,
            answer = self.text,
            outcome = self.outcome,
            "answer"
        );
    }
}
