//! The scheduler's thread: one loop of steps.

use super::event::{Event, Failure};
use super::job::{Choice, Job, Task};
use super::pages::pages;
use super::prefill::{Prefill, shares};
use super::prefix::PrefixCache;
use super::score::{most_rows, score};
use super::sequence::{Outcome, Sequence};
use super::shared::Shared;
use crate::metrics::ModelMetrics;
use crate::options::Limits;
use crate::runner::{Run, Runner, RunnerError, RunnerSession};
use edgellm::{Model, SessionOptions, TokenId};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Prompt tokens per step while no sequence is decoding.
const CHUNK_ALONE: usize = 128;

pub(super) struct Worker<R: Runner> {
    /// For its shape, tokenizer and thread pool; the runner computes its steps.
    model: Model,
    runner: R,
    /// Options of all sessions.
    session: SessionOptions,
    limits: Limits,
    metrics: ModelMetrics,
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    page_bytes: u64,
    waiting: VecDeque<Job>,
    /// Jobs in prefill, by order of arrival.
    prefilling: Vec<Prefill<R::Session>>,
    decoding: Vec<Sequence<R::Session>>,
    kept: PrefixCache<R::Session>,
}

impl<R: Runner> Worker<R> {
    pub(super) fn new(
        model: &Model,
        runner: R,
        session: SessionOptions,
        limits: Limits,
        metrics: ModelMetrics,
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
    ) -> Result<Self, RunnerError> {
        let mut worker = Worker {
            model: model.clone(),
            runner,
            session,
            limits,
            metrics,
            shared,
            jobs,
            page_bytes: 0,
            waiting: VecDeque::new(),
            prefilling: Vec::new(),
            decoding: Vec::new(),
            kept: PrefixCache::default(),
        };
        let mut session = worker.session()?;
        session.reserve(1)?;
        worker.page_bytes = session.cache_bytes();
        Ok(worker)
    }

    /// Bytes of a page of the KV cache.
    pub(super) fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    fn session(&mut self) -> Result<R::Session, RunnerError> {
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
        while self.receive() {
            self.step();
        }
    }

    /// Receives new jobs, and waits for one if there is nothing to do; `false` if no more can arrive.
    fn receive(&mut self) -> bool {
        if self.waiting.is_empty() && self.prefilling.is_empty() && self.decoding.is_empty() {
            match self.jobs.recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(_) => return false,
            }
        }
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// One token of every sequence, and a chunk of the prompts in prefill.
    fn step(&mut self) {
        self.sweep();
        self.admit();
        self.embed();
        self.extend();
        self.publish();
    }

    /// Ends jobs and sequences that were cancelled or have passed their deadline.
    fn sweep(&mut self) {
        let now = Instant::now();
        let abort = self.shared.abort.load(Ordering::Acquire);
        let over = |job: &Job| {
            let late = now >= job.deadline;
            if late || abort {
                let why = if abort { Failure::ShuttingDown } else { Failure::Timeout };
                let _ = job.events.send(Event::Failed(why));
            }
            late || abort || job.is_cancelled()
        };
        let before = self.waiting.len();
        self.waiting.retain(|job| !over(job));
        self.shared.waiting.fetch_sub(before - self.waiting.len(), Ordering::AcqRel);
        let mut index = 0;
        while index < self.prefilling.len() {
            if over(&self.prefilling[index].job) {
                let Prefill { job, session, .. } = self.prefilling.remove(index);
                self.metrics.ended(if job.is_cancelled() { "cancelled" } else { "failed" });
                if matches!(job.task, Task::Generate(_)) {
                    self.keep(job.prompt, session);
                }
            } else {
                index += 1;
            }
        }
        for index in (0..self.decoding.len()).rev() {
            let sequence = &mut self.decoding[index];
            let outcome = if sequence.is_cancelled() {
                Outcome::Cancelled
            } else if now >= sequence.deadline || abort {
                sequence.expire()
            } else {
                continue;
            };
            self.end(index, outcome);
        }
    }

    /// Admission: starts the queued jobs that there is room for, by order of arrival.
    fn admit(&mut self) {
        while let Some(job) = self.waiting.front() {
            let places = self.decoding.len() + self.prefilling.iter().map(|p| p.job.places()).sum::<usize>();
            let pages = job.pages();
            let needed = self.reserved() + pages * self.page_bytes;
            // A job with more choices than places runs alone.
            let fits = places == 0 || places + job.places() <= self.limits.parallel;
            if !fits || needed > self.limits.kv_memory {
                return;
            }
            self.kept.shrink(self.limits.prefix_memory.min(self.limits.kv_memory - needed));
            let Some(job) = self.waiting.pop_front() else { return };
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            self.begin(job, pages);
        }
    }

    /// Bytes that the running jobs and sequences may come to need.
    fn reserved(&self) -> u64 {
        let decoding = self.decoding.iter().map(|sequence| sequence.pages);
        decoding.chain(self.prefilling.iter().map(|prefill| prefill.pages)).sum::<u64>() * self.page_bytes
    }

    fn begin(&mut self, job: Job, pages: u64) {
        self.metrics.queue_time.observe(job.arrived.elapsed().as_secs_f64());
        let found = match job.task {
            // The prefix cache holds only keys and values: no logits, nor hidden states.
            _ if job.scores.is_some() => None,
            Task::Embed(_) => None,
            Task::Generate(_) => {
                let decoding = self.decoding.iter().map(|s| (s.tokens.as_slice(), &s.session));
                let prefilling = self.prefilling.iter().map(|p| (p.job.prompt.as_slice(), &p.session));
                self.kept.take(&job.prompt, decoding.chain(prefilling))
            }
        };
        let session = match found.map_or_else(|| self.session(), Ok) {
            Ok(session) => session,
            Err(error) => {
                let _ = job.events.send(Event::Failed(Arc::new(error).into()));
                return;
            }
        };
        let cached = session.position();
        self.metrics.prompt_tokens.inc_by(job.prompt.len() as u64);
        self.metrics.cached_tokens.inc_by(cached as u64);
        // The next sweep finds out whether the client is still there.
        let _ = job.events.send(Event::Started { cached });
        let sum =
            vec![0.0; if matches!(job.task, Task::Embed(_)) { self.model.config().hidden_size } else { 0 }];
        self.prefilling.push(Prefill { job, session, sum, scores: Vec::new(), pages });
    }

    /// Prompt tokens of this step.
    fn chunk(&self) -> usize {
        if self.decoding.is_empty() {
            CHUNK_ALONE.max(self.limits.prefill_chunk)
        } else {
            self.limits.prefill_chunk
        }
    }

    /// Processes a chunk of an embedding's text, if the first job in prefill is one.
    fn embed(&mut self) {
        let chunk = self.chunk();
        let Some(Prefill { job, session, sum, .. }) = self.prefilling.first_mut() else { return };
        let Task::Embed(index) = job.task else { return };
        let rest = &job.prompt[session.position()..];
        let add = |state: &[f32]| sum.iter_mut().zip(state).for_each(|(sum, &x)| *sum += f64::from(x));
        if let Err(error) = session.prefill_hidden(&rest[..rest.len().min(chunk)], add) {
            tracing::error!(%error, "the model failed at an embedding");
            return self.fail_all(&Arc::new(error).into());
        }
        if session.position() == job.prompt.len() {
            let count = job.prompt.len() as f64;
            let mean = sum.iter().map(|sum| (sum / count) as f32).collect();
            let _ = job.events.send(Event::Embedded { index, mean });
            self.prefilling.remove(0);
        }
    }

    /// Runs the model once, over the next token of every sequence and a chunk of the prompts.
    fn extend(&mut self) {
        let vocab_size = self.model.config().vocab_size;
        let shares = shares(&self.prefilling, self.chunk(), most_rows(vocab_size));
        let mut runs: Vec<Run<'_, R::Session>> = Vec::with_capacity(self.decoding.len() + 2);
        for Sequence { session, tokens, .. } in &mut self.decoding {
            runs.push(Run { session, tokens: &tokens[tokens.len() - 1..], wanted: 1 });
        }
        // Prompts of this step that want logits, and how many rows: all that are scored, and those that end.
        let mut wanting = Vec::new();
        for (index, (prefill, share)) in self.prefilling.iter_mut().zip(shares).enumerate() {
            let (left, Prefill { job, session, .. }) = (prefill.left(), prefill);
            if share == 0 {
                continue;
            }
            let tokens = &job.prompt[session.position()..][..share];
            let wanted = if job.scores.is_some() { share } else { usize::from(share == left) };
            if wanted > 0 {
                wanting.push((index, wanted));
            }
            runs.push(Run { session, tokens, wanted });
        }
        if runs.is_empty() {
            return;
        }
        let expected = runs.iter().map(|run| run.wanted).sum::<usize>() * vocab_size;
        let logits = match self.runner.run(&mut runs) {
            Ok(logits) if logits.len() == expected => Ok(logits),
            Ok(logits) => Err(RunnerError::Logits { expected, actual: logits.len() }),
            Err(error) => Err(error),
        };
        let logits = match logits {
            Ok(logits) => logits,
            Err(error) => {
                // Earlier checks exclude this for the engine; a sandbox may fail at any time.
                tracing::error!(%error, "the model failed at a step");
                return self.fail_all(&Arc::new(error).into());
            }
        };
        drop(runs);
        let mut rows = logits.chunks_exact_mut(vocab_size);
        let outcomes = decode(&self.model, &mut self.decoding, rows.by_ref(), &self.metrics);
        let mut begun = Vec::new();
        for (index, wanted) in wanting {
            let rows: Vec<&mut [f32]> = rows.by_ref().take(wanted).collect();
            let Prefill { job: Job { prompt, scores: top, .. }, session, scores, .. } =
                &mut self.prefilling[index];
            let end = session.position();
            if let Some(top) = *top {
                // The token after the prompt is not known yet.
                let next = &prompt[prompt.len().min(end + 1 - wanted)..prompt.len().min(end + 1)];
                scores.extend(score(&self.model, &rows, next, top));
            }
            if let Some(last) = rows.last().filter(|_| end == prompt.len()) {
                begun.push((index, last.to_vec()));
            }
        }
        for (index, outcome) in outcomes.into_iter().enumerate().rev() {
            if outcome != Outcome::Continues {
                self.end(index, outcome);
            }
        }
        for (index, row) in begun.into_iter().rev() {
            let prefill = self.prefilling.remove(index);
            self.continue_with(prefill, &row);
        }
    }

    /// Starts the sequences of a prompt that is complete, from the logits after it.
    fn continue_with(&mut self, prefill: Prefill<R::Session>, logits: &[f32]) {
        let Prefill { job, session, scores, .. } = prefill;
        let scored = job.scores.is_some();
        let Job { prompt, task: Task::Generate(choices), arrived, deadline, events, .. } = job else {
            return;
        };
        self.metrics.ttft.observe(arrived.elapsed().as_secs_f64());
        let forks = (1..choices.len()).map(|_| session.fork(prompt.len())).collect::<Result<Vec<_>, _>>();
        let forks = match forks {
            Ok(forks) => forks,
            Err(error) => {
                let _ = events.send(Event::Failed(Arc::new(error).into()));
                return;
            }
        };
        if scored {
            let scores: Arc<[_]> = scores.into();
            for Choice { index, .. } in &choices {
                // The next send finds out whether the channel is closed.
                let _ = events.send(Event::Scored { index: *index, scores: Arc::clone(&scores) });
            }
        }
        let sessions = std::iter::once(session).chain(forks);
        for (choice, session) in choices.into_iter().zip(sessions) {
            let mut sequence = Sequence {
                session,
                tokens: prompt.clone(),
                pages: pages(prompt.len() + choice.max_tokens),
                choice,
                scored,
                events: events.clone(),
                deadline,
                last: Instant::now(),
            };
            let outcome = sequence.step(&mut logits.to_vec(), &self.metrics);
            self.decoding.push(sequence);
            if outcome != Outcome::Continues {
                self.end(self.decoding.len() - 1, outcome);
            }
        }
    }

    /// Removes a sequence, and keeps its session in the prefix cache.
    fn end(&mut self, index: usize, outcome: Outcome) {
        let Sequence { session, tokens, .. } = self.decoding.remove(index);
        self.metrics.ended(outcome.name());
        self.keep(tokens, session);
    }

    fn keep(&mut self, mut tokens: Vec<TokenId>, session: R::Session) {
        tokens.truncate(session.position());
        self.kept.keep(tokens, session);
        let room = self.limits.kv_memory.saturating_sub(self.reserved());
        self.kept.shrink(self.limits.prefix_memory.min(room));
    }

    /// Fails all jobs and sequences, and starts again from a clean state.
    fn fail_all(&mut self, failure: &Failure) {
        for Prefill { job, .. } in self.prefilling.drain(..) {
            let _ = job.events.send(Event::Failed(failure.clone()));
        }
        for mut sequence in self.decoding.drain(..) {
            sequence.fail(failure.clone());
        }
        self.kept = PrefixCache::default();
        if let Err(error) = self.runner.restart() {
            tracing::error!(%error, "the model cannot be restarted: requests for it will fail");
        }
    }

    /// Publishes the state for the server and the metrics.
    fn publish(&self) {
        let active = self.decoding.len() + self.prefilling.len();
        self.shared.active.store(active, Ordering::Release);
        self.metrics.active.set(active as i64);
        self.metrics.queue.set(self.shared.waiting.load(Ordering::Acquire) as i64);
        let kept = self.kept.bytes();
        let sessions =
            self.decoding.iter().map(|s| &s.session).chain(self.prefilling.iter().map(|p| &p.session));
        let bytes = kept + sessions.map(RunnerSession::cache_bytes).sum::<u64>();
        self.metrics.kv_bytes.set(bytes as i64);
        self.metrics.prefix_bytes.set(kept as i64);
    }
}

/// Decodes the next token of every sequence on the model's thread pool: with a vocabulary of 50,000, each takes a good
/// part of a millisecond.
fn decode<'r, S: RunnerSession>(
    model: &Model,
    sequences: &mut [Sequence<S>],
    rows: impl Iterator<Item = &'r mut [f32]>,
    metrics: &ModelMetrics,
) -> Vec<Outcome> {
    // Each lock is taken once, by the worker that has its index.
    let places: Vec<_> =
        sequences.iter_mut().zip(rows).map(|(s, row)| Mutex::new((s, row, Outcome::Continues))).collect();
    model.compute().pool().for_each_range(places.len(), &|range| {
        for place in &places[range] {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let (sequence, row, outcome) = &mut *place;
            *outcome = sequence.step(row, metrics);
        }
    });
    places.into_iter().map(|place| place.into_inner().unwrap_or_else(PoisonError::into_inner).2).collect()
}
