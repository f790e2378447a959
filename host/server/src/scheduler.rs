//! Who runs when: one thread per model decodes all of its sequences together, one token each a step.
//!
//! Requests come in through a bounded queue and answers go out through channels, so that nothing here ever waits
//! for a client. A client that goes away drops its end of the channel, and its sequences end with the next token.

mod prefix;
mod sequence;
#[cfg(test)]
mod tests;
mod worker;

use crate::grammar::Constraint;
use crate::metrics::ModelMetrics;
use crate::runner::Runner;
use edgellm::generate::{Continuation, FinishReason};
use edgellm::sampler::Sampler;
use edgellm::{CacheFormat, Model, Precision, TokenId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// What a model's thread may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Tokens of a sequence.
    pub(crate) context: usize,
    /// Sequences at the same time.
    pub(crate) parallel: usize,
    /// Jobs that wait.
    pub(crate) queue: usize,
    /// Prompt tokens beside running sequences, in a step.
    pub(crate) prefill_chunk: usize,
    /// Bytes of all caches.
    pub(crate) kv_memory: u64,
    /// Bytes of caches kept for later.
    pub(crate) prefix_memory: u64,
    /// How finely activations are rounded.
    pub(crate) precision: Precision,
    /// How keys and values are kept.
    pub(crate) kv_cache: CacheFormat,
}

/// A prompt, and what is to be made of it.
#[derive(Debug)]
pub(crate) struct Job {
    /// Not empty, and shorter than the context.
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) task: Task,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    pub(crate) events: UnboundedSender<Event>,
}

/// What is to be made of a prompt.
#[derive(Debug)]
pub(crate) enum Task {
    /// Continuations, at least one.
    Generate(Vec<Choice>),
    /// The mean of its hidden states. The number is handed back with the result.
    Embed(usize),
}

/// One continuation of a prompt.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Handed back with every event.
    pub(crate) index: usize,
    /// Most tokens; prompt and answer fit into the context.
    pub(crate) max_tokens: usize,
    pub(crate) sampler: Sampler,
    pub(crate) continuation: Continuation,
    pub(crate) constraint: Option<Constraint>,
    /// Log probabilities of the chosen token, and of so many likeliest ones.
    pub(crate) logprobs: Option<usize>,
}

/// What a job's client hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// Work has begun, and so many tokens of the prompt need none.
    Started { cached: usize },
    /// A token was chosen.
    Token { index: usize, id: TokenId, text: String, logprobs: Option<TokenLogprobs> },
    /// A sequence ended.
    Finished { index: usize, reason: FinishReason },
    /// The embedding of [`Task::Embed`].
    Embedded { index: usize, mean: Vec<f32> },
    /// The job failed, all of it.
    Failed(Failure),
}

/// Why a job failed after it was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the request waited too long for its turn: try again later")]
    Timeout,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("{0}")]
    Internal(String),
}

/// A token's log probability, and those of the likeliest tokens in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TokenLogprobs {
    pub(crate) logprob: f32,
    pub(crate) top: Vec<(TokenId, f32)>,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{waiting} requests are waiting already: try again later")]
    QueueFull { waiting: usize },
    #[error("the request may need {needed} MiB for its keys and values, and the server has {available}")]
    TooLarge { needed: u64, available: u64 },
    #[error("the server is shutting down")]
    Closed,
}

/// The way to a model's thread. When it is dropped, the thread ends what it has and then itself.
#[derive(Debug)]
pub(crate) struct Scheduler {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    limits: Limits,
    page_bytes: u64,
}

/// What both sides see.
#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    active: AtomicUsize,
    /// Ends everything, however far it is.
    abort: AtomicBool,
}

impl Scheduler {
    /// Starts the thread of `model`, whose steps `runner` runs.
    ///
    /// # Errors
    /// If the system gives no thread, or the limits do not suit the model.
    pub(crate) fn start<R: Runner>(
        model: &Model,
        runner: R,
        limits: Limits,
        metrics: ModelMetrics,
    ) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let (jobs, receiver) = mpsc::channel();
        let worker = worker::Worker::new(model, runner, limits, metrics, Arc::clone(&shared), receiver)?;
        let page_bytes = worker.page_bytes();
        std::thread::Builder::new()
            .name("scheduler".into())
            .spawn(move || worker.run())
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Scheduler { jobs, shared, limits, page_bytes })
    }

    /// Queues `jobs`, all or none.
    ///
    /// # Errors
    /// [`Refused`] if there is no room.
    pub(crate) fn submit(&self, jobs: Vec<Job>) -> Result<(), Refused> {
        for job in &jobs {
            let (needed, available) = (job.pages() * self.page_bytes, self.limits.kv_memory);
            if needed > available {
                return Err(Refused::TooLarge { needed: needed >> 20, available: available >> 20 });
            }
        }
        // A request of many texts is let in whole where there is any room: its number is limited elsewhere.
        let admitted = self.shared.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < self.limits.queue).then_some(waiting + jobs.len())
        });
        admitted.map_err(|waiting| Refused::QueueFull { waiting })?;
        jobs.into_iter().try_for_each(|job| self.jobs.send(job).map_err(|_| Refused::Closed))
    }

    /// Sequences that are at work or wait.
    pub(crate) fn busy(&self) -> usize {
        self.shared.active.load(Ordering::Acquire) + self.shared.waiting.load(Ordering::Acquire)
    }

    /// Ends all sequences with their next token, and refuses those that wait.
    pub(crate) fn abort(&self) {
        self.shared.abort.store(true, Ordering::Release);
    }
}

impl Job {
    /// Sequences that it occupies.
    fn places(&self) -> usize {
        match &self.task {
            Task::Generate(choices) => choices.len(),
            Task::Embed(_) => 1,
        }
    }

    /// Pages of the key-value cache that it may come to need.
    fn pages(&self) -> u64 {
        let pages = |tokens: usize| tokens.div_ceil(PAGE) as u64;
        match &self.task {
            Task::Generate(choices) => {
                choices.iter().map(|choice| pages(self.prompt.len() + choice.max_tokens)).sum()
            }
            Task::Embed(_) => pages(self.prompt.len()),
        }
    }

    /// Whether anybody still wants it.
    fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }
}

/// Positions of a page of the key-value cache.
const PAGE: usize = 64;
