//! The measurement itself: starts workers, checks answers, interleaves runs.

use crate::cell::Cell;
use crate::observer::Observer;
use crate::plan;
use crate::prompts::Prompt;
use crate::protocol::{Done, Request};
use crate::report::{Absent, Row, Settings};
use crate::sensors::Meter;
use crate::worker::{Patience, Worker, WorkerError};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest wait for one answer.
const LIMIT: Duration = Duration::from_secs(300);

/// An engine to measure: a target of EdgeLLM, or a peer.
pub struct Subject {
    /// Name in reports.
    pub name: String,
    /// Whether its answers must equal those of the first exact subject, as those of EdgeLLM's targets must.
    pub exact: bool,
    /// The command that starts a worker with that many threads.
    pub command: Box<dyn Fn(usize) -> Command>,
}

/// The result of a measurement.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One for each subject, number of threads and prompt.
    pub rows: Vec<Row>,
    /// The subjects that could not be measured.
    pub absent: Vec<Absent>,
    /// Whether the observer stopped it.
    pub interrupted: bool,
}

/// A worker that stays for the whole measurement.
struct Seat<'a> {
    subject: &'a Subject,
    threads: usize,
    worker: Worker,
    cold_start_ms: Vec<f64>,
    load_ms: Vec<f64>,
}

/// Measures `subjects` with `prompts`.
pub fn run(
    subjects: &[Subject],
    prompts: &[Prompt],
    settings: &Settings,
    meter: Option<&Meter>,
    observer: &dyn Observer,
) -> Outcome {
    let mut measurement = Measurement {
        subjects,
        prompts,
        settings,
        meter,
        observer,
        start: Instant::now(),
        outcome: Outcome::default(),
    };
    let interrupted = measurement.all().is_err();
    measurement.outcome.interrupted = interrupted;
    measurement.outcome
}

/// The observer wants to stop.
struct Stopped;

struct Measurement<'a> {
    subjects: &'a [Subject],
    prompts: &'a [Prompt],
    settings: &'a Settings,
    meter: Option<&'a Meter>,
    observer: &'a dyn Observer,
    start: Instant,
    outcome: Outcome,
}

impl<'a> Measurement<'a> {
    fn all(&mut self) -> Result<(), Stopped> {
        let mut seats = Vec::new();
        let mut cells = Vec::new();
        let result = self
            .start_workers(&mut seats)
            .and_then(|()| self.check(&mut seats, &mut cells))
            .and_then(|()| self.start_cold(&mut seats))
            .and_then(|()| self.measure(&mut seats, &mut cells));
        self.outcome.rows = cells
            .into_iter()
            .map(|cell| {
                let (seat, prompt) = (&seats[cell.seat], &self.prompts[cell.prompt]);
                let row = Row {
                    target: seat.subject.name.clone(),
                    threads: seat.threads,
                    prompt_tokens: prompt.tokens.len(),
                    category: prompt.category.to_string(),
                    ..Row::default()
                };
                cell.row(row, &seat.worker.ready, &seat.cold_start_ms, &seat.load_ms)
            })
            .collect();
        result
    }

    /// One worker for each subject and number of threads.
    fn start_workers(&mut self, seats: &mut Vec<Seat<'a>>) -> Result<(), Stopped> {
        for &threads in &self.settings.threads {
            for subject in self.subjects {
                if self.outcome.absent.iter().any(|absent| absent.target == subject.name) {
                    continue;
                }
                match self.start(subject, threads) {
                    Ok((worker, _)) if worker.ready.threads != threads => {
                        let actual = worker.ready.threads;
                        self.observer
                            .note(&format!("{}: runs on {actual} thread(s), not on {threads}", subject.name));
                    }
                    Ok((worker, _)) => {
                        let (cold_start_ms, load_ms) = (Vec::new(), Vec::new());
                        seats.push(Seat { subject, threads, worker, cold_start_ms, load_ms });
                    }
                    Err(WorkerError::Interrupted) => return Err(Stopped),
                    Err(error) => {
                        let reason = error.to_string();
                        self.observer.note(&format!("{}: {reason}", subject.name));
                        self.outcome.absent.push(Absent { target: subject.name.clone(), reason });
                    }
                }
            }
        }
        Ok(())
    }

    /// A fresh worker, and the milliseconds until its first token.
    fn start(&self, subject: &Subject, threads: usize) -> Result<(Worker, f64), WorkerError> {
        let shortest = self.prompts.iter().min_by_key(|prompt| prompt.tokens.len());
        let request = shortest.map(|prompt| request(prompt, 1, false));
        let start = Instant::now();
        let mut worker = Worker::start((subject.command)(threads), self.patience())?;
        if let Some(request) = &request {
            worker.run(request, self.patience())?;
        }
        Ok((worker, start.elapsed().as_secs_f64() * 1e3))
    }

    /// Runs every prompt once on every worker and compares what must be equal. Creates all cells.
    fn check(&mut self, seats: &mut [Seat<'a>], cells: &mut Vec<Cell>) -> Result<(), Stopped> {
        for (prompt_index, prompt) in self.prompts.iter().enumerate() {
            let mut reference: Option<(&str, Done)> = None;
            for (seat_index, seat) in seats.iter_mut().enumerate() {
                let mut cell = Cell::new(seat_index, prompt_index);
                // Only EdgeLLM hashes logits, and peers can be slow.
                let answer = seat
                    .worker
                    .run(&request(prompt, self.settings.generate, seat.subject.exact), self.patience());
                match answer {
                    Err(WorkerError::Interrupted) => return Err(Stopped),
                    Err(error) => cell.fail(error.to_string()),
                    Ok(done) => {
                        let known = reference.as_ref().map(|(name, done)| (*name, done));
                        cell.check(&done, self.settings.generate, known.filter(|_| seat.subject.exact));
                        cell.compare(&done, known);
                        if seat.subject.exact && cell.problem().is_none() {
                            reference.get_or_insert((&seat.subject.name, done));
                        }
                    }
                }
                if let Some(problem) = cell.problem() {
                    self.observer.note(&format!(
                        "{}, {} tokens: {problem}",
                        seat.subject.name,
                        prompt.tokens.len()
                    ));
                }
                cells.push(cell);
            }
        }
        Ok(())
    }

    /// Cold starts, interleaved. The first of each, which may have read the file from disk, came earlier.
    fn start_cold(&mut self, seats: &mut [Seat<'a>]) -> Result<(), Stopped> {
        for _ in 0..self.settings.cold_starts {
            for seat in &mut *seats {
                match self.start(seat.subject, seat.threads) {
                    Ok((worker, milliseconds)) => {
                        seat.cold_start_ms.push(milliseconds);
                        seat.load_ms.push(worker.ready.load_ms);
                    }
                    Err(WorkerError::Interrupted) => return Err(Stopped),
                    Err(error) => self.observer.note(&format!("{}: {error}", seat.subject.name)),
                }
            }
        }
        Ok(())
    }

    fn measure(&mut self, seats: &mut [Seat<'a>], cells: &mut [Cell]) -> Result<(), Stopped> {
        // The first warm-up shows how long a run takes.
        let mut durations = Vec::with_capacity(cells.len());
        for cell in &mut *cells {
            let start = Instant::now();
            self.iterate(seats, cell, false)?;
            durations.push(if cell.problem().is_some() { Duration::ZERO } else { start.elapsed() });
        }
        let budget = self.settings.minutes.map(|minutes| {
            let whole = Duration::from_secs_f64(minutes * 60.0);
            // Reserves a tenth for the warm-ups.
            whole.saturating_sub(self.start.elapsed()).mul_f64(0.9)
        });
        let shares = plan::shares(&durations, self.settings.iterations, budget);
        let warmups: Vec<usize> = shares
            .iter()
            .map(|share| {
                (self.settings.warmup * share).div_ceil(self.settings.iterations.max(1)).saturating_sub(1)
            })
            .collect();
        let warmups = plan::schedule(&warmups);
        let runs = plan::schedule(&shares);
        let seconds = |cells: &[usize]| cells.iter().map(|&cell| durations[cell].as_secs_f64()).sum::<f64>();
        let total = seconds(&warmups) + seconds(&runs);
        let mut done = 0.0;
        for (index, &cell) in warmups.iter().chain(&runs).enumerate() {
            self.observer.progress(done, total);
            self.iterate(seats, &mut cells[cell], index >= warmups.len())?;
            done += durations[cell].as_secs_f64();
        }
        Ok(())
    }

    /// One run of a cell, recorded if it counts.
    fn iterate(&self, seats: &mut [Seat<'a>], cell: &mut Cell, counts: bool) -> Result<(), Stopped> {
        if self.observer.stop() {
            return Err(Stopped);
        }
        if cell.problem().is_some() {
            return Ok(());
        }
        let worker = &mut seats[cell.seat].worker;
        let request = request(&self.prompts[cell.prompt], self.settings.generate, false);
        let before = (worker.usage(), self.meter.map(Meter::read), Instant::now());
        match worker.run(&request, self.patience()) {
            Err(WorkerError::Interrupted) => return Err(Stopped),
            Err(error) => cell.fail(error.to_string()),
            Ok(done) if counts => {
                let wall = before.2.elapsed();
                let after = self.meter.map(Meter::read);
                let joules = || self.meter?.joules(before.1.as_ref()?, after.as_ref()?);
                cell.keep(&done, request.prompt.len(), wall, before.0, worker.usage(), joules());
            }
            Ok(done) => cell.compare_runs(&done),
        }
        Ok(())
    }

    fn patience(&self) -> Patience<'_> {
        Patience { limit: LIMIT, observer: self.observer }
    }
}

fn request(prompt: &Prompt, generate: usize, hash: bool) -> Request {
    Request { prompt: prompt.tokens.clone(), text: prompt.text.clone(), generate, hash }
}
