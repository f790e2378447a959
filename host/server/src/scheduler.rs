//! The scheduler: one thread per model, which decodes all of its sequences together, one token of each per step.
//!
//! Requests arrive through a bounded queue and events leave through channels, so that the thread never waits for a
//! client. A client that disconnects drops its end of the channel, and its sequences end with the next token.

mod event;
mod job;
mod pages;
mod prefill;
mod prefix;
mod score;
mod sequence;
mod shared;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use event::{Event, Failure, TokenLogprobs};
pub(crate) use job::{Choice, Job, Task};

use crate::metrics::ModelMetrics;
use crate::options::Limits;
use crate::runner::{Runner, RunnerError};
use edgellm::{Model, SessionOptions};
use shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

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
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    limits: Limits,
    page_bytes: u64,
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
        let shared = Arc::new(Shared::default());
        let (jobs, receiver) = mpsc::channel();
        let worker =
            worker::Worker::new(model, runner, session, limits, metrics, Arc::clone(&shared), receiver)?;
        let page_bytes = worker.page_bytes();
        std::thread::Builder::new()
            .name("scheduler".into())
            .spawn(move || worker.run())
            .map_err(StartError::Thread)?;
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
        // A request of many texts is admitted whole if the queue has any room: their number is limited elsewhere.
        let admitted = self.shared.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < self.limits.queue).then_some(waiting + jobs.len())
        });
        admitted.map_err(|waiting| Refused::QueueFull { waiting })?;
        jobs.into_iter().try_for_each(|job| self.send(job))
    }

    /// Queues the next job of a request that [`Scheduler::submit`] has admitted, in the place of one that is done.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub(crate) fn submit_next(&self, job: Job) -> Result<(), Refused> {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        self.send(job)
    }

    fn send(&self, job: Job) -> Result<(), Refused> {
        self.jobs.send(job).map_err(|_| Refused::Closed)
    }

    /// Jobs and sequences that are running or queued.
    pub(crate) fn busy(&self) -> usize {
        self.shared.active.load(Ordering::Acquire) + self.shared.waiting.load(Ordering::Acquire)
    }

    /// Ends all sequences with their next token, and fails the queued jobs.
    pub(crate) fn abort(&self) {
        self.shared.abort.store(true, Ordering::Release);
    }
}
