//! From a scheduler's events to an answer: one JSON object, or a stream of pieces.

mod chat;
mod completion;
mod stream;

pub(crate) use chat::ChatAnswer;
pub(crate) use completion::CompletionAnswer;
pub(crate) use stream::EventStream;

use crate::error::ApiError;
use crate::registry::Loaded;
use crate::scheduler::{Event, TokenLogprobs};
use edgellm::TokenId;
use edgellm::generate::FinishReason;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// What makes pieces of a streamed answer from events, and a whole answer from pieces.
pub(crate) trait Answer: Send + Unpin + 'static {
    /// A piece.
    type Piece: Serialize + Send;
    /// The answer in one.
    type Whole: Serialize;

    /// The pieces that an event gives.
    fn pieces(&mut self, event: Event) -> Vec<Self::Piece>;
    /// The last piece, with the usage.
    fn usage_piece(&self) -> Self::Piece;
    /// All pieces as one answer.
    fn whole(self, pieces: Vec<Self::Piece>) -> Self::Whole;
    /// What all answers count.
    fn tally(&mut self) -> &mut Tally;
}

/// Waits for the whole answer.
///
/// # Errors
/// If the job failed.
pub(crate) async fn collect<A: Answer>(
    mut answer: A,
    mut events: UnboundedReceiver<Event>,
) -> Result<A::Whole, ApiError> {
    let mut pieces = Vec::new();
    while answer.tally().open > 0 {
        match events.recv().await {
            Some(Event::Failed(failure)) => {
                answer.tally().outcome = "failed";
                return Err(failure.into());
            }
            Some(event) => {
                answer.tally().count(&event);
                pieces.extend(answer.pieces(event));
            }
            None => return Err(ApiError::internal("the model's thread has ended: see the server's log")),
        }
    }
    answer.tally().outcome = "complete";
    Ok(answer.whole(pieces))
}

/// What an answer has cost so far; it writes itself into the log at the end, whichever that is.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) request: RequestId,
    pub(crate) model: Arc<Loaded>,
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    pub(crate) cached_tokens: usize,
    /// Sequences that have not ended.
    pub(crate) open: usize,
    pub(crate) outcome: &'static str,
    pub(crate) user: Option<String>,
    pub(crate) text: Option<String>,
    started: Instant,
}

impl Tally {
    /// Of a request for `open` sequences.
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
            Event::Failed(_) => {}
        }
    }

    pub(crate) fn usage(&self) -> crate::api::Usage {
        crate::api::Usage::new(self.prompt_tokens, self.completion_tokens, self.cached_tokens)
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

/// What a request is called in the log and in the `x-request-id` header.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// OpenAI's word for why an answer ended.
fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::ContextFull => "length",
    }
}

/// Text and bytes of a token.
fn spelling(model: &Loaded, id: TokenId) -> (String, Option<Vec<u8>>) {
    let bytes = model.model.tokenizer().token_bytes(id);
    let text = bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (text.unwrap_or_default(), bytes)
}

/// The likeliest tokens of a place, or the chosen one.
fn shown(model: &Loaded, id: TokenId, logprob: f32) -> crate::api::chat::ShownToken {
    let (token, bytes) = spelling(model, id);
    crate::api::chat::ShownToken { token, logprob, bytes }
}

/// The log probabilities of one token in the form of chats.
fn chat_logprobs(model: &Loaded, id: TokenId, logprobs: TokenLogprobs) -> crate::api::chat::ChatLogprobs {
    let token = shown(model, id, logprobs.logprob);
    let top_logprobs = logprobs.top.into_iter().map(|(id, logprob)| shown(model, id, logprob)).collect();
    let content = vec![crate::api::chat::TokenLogprob { token, top_logprobs }];
    crate::api::chat::ChatLogprobs { content, refusal: None }
}
