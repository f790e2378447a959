//! The scheduler: one thread per model, which decodes all of its sequences together, one token of each per step.
//!
//! Clients take turns: what one sends, however much, delays another by a few steps. Requests arrive through a bounded queue
//! and events leave through channels, so that the thread never waits for a client. A client that disconnects drops its end of the channel, and its sequences end with the next token.

mod admission;
mod event;
mod job;
mod pages;
mod prefill;
mod prefix;
mod queue;
mod score;
mod sequence;
mod shared;
mod step;
#[cfg(test)]
mod tests;
mod turns;
mod worker;

pub(crate) use event::{Event, Failure, TokenLogprobs};
pub(crate) use job::{Choice, Job, Task};

use crate::metrics::ModelMetrics;
use crate::options::Limits;
use crate::runner::{Runner, RunnerError};
use edgellm::{Model, SessionOptions};
use pages::Cost;
use shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Why a job was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{waiting} requests are already in the queue: try again later")]
    QueueFull { waiting: usize },
    #[error(
        "the request may need {needed} MiB of KV cache, and the server has {available} MiB: ask for fewer tokens"
    )]
    TooLarge { needed: u64, available: u64 },
    #[error("the server is shutting down")]
    Closed,
}

/// The handle of a model's scheduler. When it is dropped, the thread completes its jobs and ends.
#[derive(Debug)]
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    limits: Limits,
    cost: Cost,
}

/// Why a scheduler did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The limits do not suit the model, or the runner is broken.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    #[error("cannot start the scheduler's thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl Scheduler {
    /// Starts the scheduler's thread for `model`, whose steps `runner` runs.
    ///
    /// # Errors
    /// [`StartError`] if the limits do not suit the model, or no thread can be started.
    pub(crate) fn start<R: Runner>(
        model: &Model,
        runner: R,
        session: SessionOptions,
        limits: Limits,
        metrics: ModelMetrics,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(limits.queue));
        let worker = worker::Worker::new(model, runner, session, limits, metrics, Arc::clone(&shared))?;
        let cost = worker.cost;
        std::thread::Builder::new()
            .name("scheduler".into())
            .spawn(move || worker.run())
            .map_err(StartError::Thread)?;
        Ok(Scheduler { shared, limits, cost })
    }

    /// Queues the jobs of a request.
    ///
    /// # Errors
    /// [`Refused`] if there is no room.
    pub(crate) fn submit(&self, jobs: Vec<Job>) -> Result<(), Refused> {
        let needed = self.cost.bytes(jobs.iter().map(Job::pages).max().unwrap_or(0));
        let available = self.limits.kv_memory;
        if needed > available {
            return Err(Refused::TooLarge { needed: needed >> 20, available: available >> 20 });
        }
        self.shared.submit(jobs.into())
    }

    /// Sequences that have started, and requests in the queue.
    pub(crate) fn busy(&self) -> usize {
        self.shared.active.load(Ordering::Acquire) + self.shared.queue().len()
    }

    /// Ends all sequences with their next token, and fails the queued jobs.
    pub(crate) fn abort(&self) {
        self.shared.abort.store(true, Ordering::Release);
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.close();
    }
}
