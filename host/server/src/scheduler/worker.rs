//! The scheduler's thread: its state, and one loop of steps.

use super::event::Failure;
use super::job::Job;
use super::pages::Cost;
use super::prefix::PrefixCache;
use super::sequence::{Outcome, Sequence};
use super::shared::Shared;
use super::turns::Turns;
use crate::metrics::ModelMetrics;
use crate::options::Limits;
use crate::runner::{Runner, RunnerError, RunnerSession};
use edgellm::{Model, SessionOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

pub(super) struct Worker<R: Runner> {
    /// For its shape, tokenizer and thread pool; the runner computes its steps.
    pub(super) model: Model,
    pub(super) runner: R,
    /// Options of all sessions.
    session: SessionOptions,
    pub(super) limits: Limits,
    pub(super) metrics: ModelMetrics,
    pub(super) shared: Arc<Shared>,
    pub(super) cost: Cost,
    /// Sequences that have a place: each step extends them.
    pub(super) running: Vec<Sequence<R::Session>>,
    /// Sequences that gave up their places to other clients.
    pub(super) paused: Vec<Sequence<R::Session>>,
    pub(super) kept: PrefixCache<R::Session>,
    pub(super) turns: Turns,
    /// Sequences started so far.
    pub(super) started: u64,
}

impl<R: Runner> Worker<R> {
    pub(super) fn new(
        model: &Model,
        runner: R,
        session: SessionOptions,
        limits: Limits,
        metrics: ModelMetrics,
        shared: Arc<Shared>,
    ) -> Result<Self, RunnerError> {
        let mut worker = Worker {
            model: model.clone(),
            runner,
            session,
            limits,
            metrics,
            shared,
            cost: Cost::default(),
            running: Vec::new(),
            paused: Vec::new(),
            kept: PrefixCache::default(),
            turns: Turns::default(),
            started: 0,
        };
        let mut session = worker.session()?;
        worker.cost = Cost::measure(&mut session)?;
        Ok(worker)
    }

    pub(super) fn session(&mut self) -> Result<R::Session, RunnerError> {
        self.runner.session(self.session)
    }

    /// Runs until no more jobs can arrive and all are done.
    pub(super) fn run(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            // A bug. Running jobs fail; the next ones find a clean state.
            tracing::error!("the scheduler panicked: all sequences of this model have failed");
            self.fail_all(&Failure::Panicked);
            self.publish();
        }
    }

    fn work(&mut self) {
        // With nothing to do, it waits for a request.
        while self.sequences().next().is_some() || self.shared.wait() {
            self.step();
        }
    }

    /// One token of every running sequence, and a chunk of the prompts in prefill.
    pub(super) fn step(&mut self) {
        self.sweep();
        self.admit();
        self.advance();
        self.publish();
    }

    /// All sequences that have started.
    pub(super) fn sequences(&self) -> impl Iterator<Item = &Sequence<R::Session>> + Clone {
        self.running.iter().chain(&self.paused)
    }

    /// Ends jobs and sequences that were cancelled or have passed their deadline.
    fn sweep(&mut self) {
        let now = Instant::now();
        let abort = self.shared.abort.load(Ordering::Acquire);
        let late = |deadline: Instant| now >= deadline || abort;
        let why = if abort { Failure::ShuttingDown } else { Failure::Timeout };
        let over = |job: &Job| late(job.deadline) || job.is_cancelled();
        // The queue is not held while jobs are dropped.
        let removed = self.shared.queue().remove(over);
        removed.iter().flatten().for_each(|job| job.give_up(why.clone()));
        let mut ended = Vec::new();
        for list in [&mut self.running, &mut self.paused] {
            let is_over = |sequence: &mut Sequence<_>| late(sequence.deadline) || sequence.is_cancelled();
            ended.extend(list.extract_if(.., is_over));
        }
        for mut sequence in ended {
            let cancelled = sequence.is_cancelled();
            let outcome = if cancelled { Outcome::Cancelled } else { sequence.expire(why.clone()) };
            self.end(sequence, outcome);
        }
    }

    /// Ends a sequence that has been removed, and keeps its session in the prefix cache.
    pub(super) fn end(&mut self, sequence: Sequence<R::Session>, outcome: Outcome) {
        self.metrics.ended(outcome.name());
        if !sequence.embeds() {
            let Sequence { mut tokens, session, .. } = sequence;
            tokens.truncate(session.position());
            self.kept.keep(tokens, session);
        }
        self.shrink();
    }

    /// Drops what the prefix cache has no more room for.
    pub(super) fn shrink(&mut self) {
        let room = self.limits.kv_memory.saturating_sub(self.reserved());
        self.kept.shrink(self.limits.prefix_memory.min(room));
    }

    /// Fails all sequences, and starts again from a clean state.
    pub(super) fn fail_all(&mut self, failure: &Failure) {
        for sequence in self.running.drain(..).chain(self.paused.drain(..)) {
            sequence.fail(failure.clone());
        }
        self.kept = PrefixCache::default();
        if let Err(error) = self.runner.restart() {
            tracing::error!(%error, "the model cannot be restarted: requests for it will fail");
        }
    }

    /// Publishes the state for the server and the metrics.
    fn publish(&self) {
        let (running, paused) = (self.running.len(), self.paused.len());
        self.shared.active.store(running + paused, Ordering::Release);
        self.metrics.active.set(running as i64);
        self.metrics.paused.set(paused as i64);
        self.metrics.queue.set(self.shared.queue().len() as i64);
        let kept = self.kept.bytes();
        let bytes = kept + self.sequences().map(|sequence| sequence.session.cache_bytes()).sum::<u64>();
        self.metrics.kv_bytes.set(bytes as i64);
        self.metrics.prefix_bytes.set(kept as i64);
    }
}

impl<R: Runner> Drop for Worker<R> {
    /// Ends what waits, should the thread end before its time: closed channels tell the requests.
    fn drop(&mut self) {
        self.shared.close();
        self.shared.queue().remove(|_| true);
    }
}
