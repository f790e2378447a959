//! The events of a job, from the scheduler to the request that submitted it.

use crate::runner::RunnerError;
use edgellm::TokenId;
use edgellm::generate::FinishReason;
use std::sync::Arc;

/// An event of a job.
#[derive(Debug)]
pub(crate) enum Event {
    /// Prefill has started; `cached` tokens of the prompt came from the prefix cache.
    Started { cached: usize },
    /// The prompt is processed: the log probabilities of its tokens, from the second on. Comes before any token of this
    /// answer, if the job asked for it.
    Scored { index: usize, scores: Arc<[TokenLogprobs]> },
    /// A token was generated.
    Token { index: usize, id: TokenId, text: String, logprobs: Option<TokenLogprobs> },
    /// A sequence ended.
    Finished { index: usize, reason: FinishReason },
    /// The result of an embedding job.
    Embedded { index: usize, mean: Vec<f32> },
    /// The whole job failed.
    Failed(Failure),
}

/// Why a job failed after it was queued.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request waited too long for its turn: try again later")]
    Timeout,
    /// The queue is full, and this was the newest request of the client with the most.
    #[error(
        "the queue is full, and the newest request of the client with the most made room: try again later"
    )]
    Displaced,
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The runner failed at a step; all jobs of that step share the error.
    #[error(transparent)]
    Runner(#[from] Arc<RunnerError>),
    /// The grammar allows no token, or reached one of its library's limits.
    #[error(
        "the answer cannot go on: its JSON schema or tools allow no further text here, or are too complex to follow; simplify them"
    )]
    DeadEnd,
    /// A bug in the scheduler.
    #[error("internal error: see the server's log")]
    Panicked,
}

/// A token's log probability, and those of the most likely tokens in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenLogprobs {
    pub(crate) logprob: f32,
    pub(crate) top: Vec<(TokenId, f32)>,
}
