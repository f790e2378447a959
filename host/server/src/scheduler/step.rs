//! One step of the model: a token of every answer, and a chunk of the prompts.

use super::event::{Event, Failure};
use super::job::{Choice, Job, Task};
use super::pages::pages;
use super::prefill::{Demand, shares};
use super::score::{most_rows, score};
use super::sequence::{Answer, Outcome, Prompt, Sequence, Stage};
use super::turns::{GENERATED, PROCESSED};
use super::worker::Worker;
use crate::metrics::ModelMetrics;
use crate::runner::{Run, Runner, RunnerError, RunnerSession};
use edgellm::Model;
use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Prompt tokens per step while no sequence is decoding.
const CHUNK_ALONE: usize = 128;

/// What a step brought to an end.
enum Done {
    /// A prompt is processed: the logits after it.
    Prompt(Vec<f32>),
    Answer(Outcome),
}

impl<R: Runner> Worker<R> {
    /// Extends the running sequences.
    pub(super) fn advance(&mut self) {
        let shares = self.shares();
        if let Err(error) = self.embed(&shares).and_then(|()| self.extend(&shares)) {
            // Earlier checks exclude this for the engine; a sandbox may fail at any time.
            tracing::error!(%error, "the model failed at a step");
            self.fail_all(&Failure::Runner(Arc::new(error)));
        }
    }

    /// How many tokens of each running sequence this step processes: one of each that decodes, and a chunk of the others.
    fn shares(&self) -> Vec<usize> {
        let decoding = self.running.iter().any(Sequence::decodes);
        let chunk = self.limits.prefill_chunk;
        let room = if decoding { chunk } else { CHUNK_ALONE.max(chunk) };
        // Each embedding is a pass of its own, so that a step has one.
        let embeddings = self.running.iter().filter(|sequence| sequence.embeds());
        let embedding = embeddings.min_by_key(|s| (self.turns.used(s.client), s.number)).map(|s| s.number);
        let demand = |sequence: &Sequence<R::Session>| {
            let waits = sequence.decodes() || (sequence.embeds() && embedding != Some(sequence.number));
            let left = if waits { 0 } else { sequence.left() };
            Demand { client: sequence.client, left, scored: sequence.is_scored() }
        };
        let demands: Vec<Demand> = self.running.iter().map(demand).collect();
        let rows = most_rows(self.model.config().vocab_size);
        let mut shares = shares(&demands, |client| self.turns.used(client), room, rows);
        for (share, sequence) in shares.iter_mut().zip(&self.running) {
            *share += usize::from(sequence.decodes());
        }
        shares
    }

    /// Processes an embedding's share.
    fn embed(&mut self, shares: &[usize]) -> Result<(), RunnerError> {
        for (sequence, &share) in self.running.iter_mut().zip(shares) {
            let Sequence { client, session, tokens, stage, .. } = sequence;
            let Stage::Prompt(Prompt { job: Job { task: Task::Embed(index), events, .. }, sum, .. }) = stage
            else {
                continue;
            };
            if share == 0 {
                continue;
            }
            let add = |state: &[f32]| sum.iter_mut().zip(state).for_each(|(sum, &x)| *sum += f64::from(x));
            session.prefill_hidden(&tokens[session.position()..][..share], add)?;
            self.turns.charge(*client, share as u64 * PROCESSED);
            if session.position() == tokens.len() {
                let count = tokens.len() as f64;
                let mean = sum.iter().map(|sum| (sum / count) as f32).collect();
                let _ = events.send(Event::Embedded { index: *index, mean });
            }
        }
        Ok(())
    }

    /// Runs the model once, over the shares of all other sequences.
    fn extend(&mut self, shares: &[usize]) -> Result<(), RunnerError> {
        let vocab_size = self.model.config().vocab_size;
        let mut runs: Vec<Run<'_, R::Session>> = Vec::with_capacity(self.running.len());
        // How many rows of logits each wants: of a scored prompt all, of others the one after its last token.
        let mut wanting = vec![0; self.running.len()];
        for ((sequence, &share), wanting) in self.running.iter_mut().zip(shares).zip(&mut wanting) {
            if share == 0 || sequence.embeds() {
                continue;
            }
            let ends = usize::from(share == sequence.left());
            let work = if sequence.decodes() { GENERATED } else { share as u64 * PROCESSED };
            self.turns.charge(sequence.client, work);
            *wanting = if sequence.is_scored() { share } else { ends };
            let Sequence { session, tokens, .. } = sequence;
            let tokens = &tokens[session.position()..][..share];
            runs.push(Run { session, tokens, wanted: *wanting });
        }
        let mut done = Vec::new();
        if !runs.is_empty() {
            let expected = wanting.iter().sum::<usize>() * vocab_size;
            let logits = self.runner.run(&mut runs)?;
            if logits.len() != expected {
                return Err(RunnerError::Logits { expected, actual: logits.len() });
            }
            drop(runs);
            let mut rows = logits.chunks_exact_mut(vocab_size);
            let mut answers = Vec::new();
            for (at, (sequence, &wanted)) in self.running.iter_mut().zip(&wanting).enumerate() {
                let mut rows: Vec<&mut [f32]> = rows.by_ref().take(wanted).collect();
                if let Stage::Prompt(prompt) = &mut sequence.stage {
                    let (end, tokens) = (sequence.session.position(), &sequence.tokens);
                    if let Some(top) = prompt.job.scoring() {
                        // The token after the prompt is not known yet.
                        let next = &tokens[tokens.len().min(end + 1 - wanted)..tokens.len().min(end + 1)];
                        prompt.scores.extend(score(&self.model, &rows, next, top));
                    }
                    let last = rows.last().filter(|_| end == tokens.len());
                    done.extend(last.map(|row| (at, Done::Prompt(row.to_vec()))));
                } else if let Some(row) = rows.pop() {
                    answers.push((at, sequence, row));
                }
            }
            done.extend(decode(&self.model, answers, &self.metrics));
        }
        done.sort_unstable_by_key(|&(at, _)| Reverse(at));
        for (at, done) in done {
            match done {
                Done::Prompt(logits) => {
                    let sequence = self.running.remove(at);
                    self.answer(sequence, &logits);
                }
                Done::Answer(Outcome::Continues) => {}
                Done::Answer(outcome) => {
                    let sequence = self.running.remove(at);
                    self.end(sequence, outcome);
                }
            }
        }
        self.running.retain(|sequence| !sequence.embeds() || sequence.left() > 0);
        Ok(())
    }

    /// Starts choices of a prompt that is processed, from the logits after it: the first in its place, others in those that
    /// are free. The rest goes back to the queue, and finds the prompt in the prefix cache.
    fn answer(&mut self, sequence: Sequence<R::Session>, logits: &[f32]) {
        let Sequence { client, session, tokens, stage, events, deadline, .. } = sequence;
        let Stage::Prompt(Prompt { mut job, scores, .. }) = stage else { return };
        let Task::Generate(choices) = &mut job.task else { return };
        if !job.begun {
            self.metrics.ttft.observe(job.arrived.elapsed().as_secs_f64());
        }
        if job.scores.is_some() && !job.begun {
            let scores: Arc<[_]> = scores.into();
            for Choice { index, .. } in choices.iter() {
                // The next send finds out whether the channel is closed.
                let _ = events.send(Event::Scored { index: *index, scores: Arc::clone(&scores) });
            }
        }
        let cost = self.cost;
        let needed = |choice: &Choice| cost.bytes(pages(tokens.len() + choice.max_tokens));
        let places = self.limits.parallel.saturating_sub(self.running.len());
        let mut memory = self.limits.kv_memory.saturating_sub(self.reserved());
        let fit = |(at, choice): &(usize, &Choice)| {
            let fits = *at == 0 || (*at < places && needed(choice) <= memory);
            memory = memory.saturating_sub(needed(choice));
            fits
        };
        let count = choices.iter().enumerate().take_while(fit).count();
        let rest = choices.split_off(count);
        let begun = std::mem::replace(choices, rest);
        let forks = (1..count).map(|_| session.fork(tokens.len())).collect::<Result<Vec<_>, _>>();
        let forks = match forks {
            Ok(forks) => forks,
            Err(error) => {
                let _ = events.send(Event::Failed(Failure::Runner(Arc::new(error))));
                return;
            }
        };
        let scored = job.scores.is_some();
        if job.places() > 0 {
            (job.prompt, job.begun) = (tokens.clone(), true);
            self.shared.queue().put_back(job);
        }
        for (choice, session) in begun.into_iter().zip(std::iter::once(session).chain(forks)) {
            let pages = pages(tokens.len() + choice.max_tokens);
            let mut sequence = Sequence {
                number: self.number(),
                client,
                session,
                tokens: tokens.clone(),
                stage: Stage::Answer(Box::new(Answer { choice, scored, last: Instant::now() })),
                events: events.clone(),
                deadline,
                pages,
                resident: true,
                gained: 0,
            };
            match sequence.step(&mut logits.to_vec(), &self.metrics) {
                Outcome::Continues => self.running.push(sequence),
                outcome => self.end(sequence, outcome),
            }
        }
        self.shrink();
    }
}

/// Decodes the next token of every answer on the model's thread pool: with a vocabulary of 50,000, each takes a good part of
/// a millisecond.
fn decode<S: RunnerSession>(
    model: &Model,
    answers: Vec<(usize, &mut Sequence<S>, &mut [f32])>,
    metrics: &ModelMetrics,
) -> Vec<(usize, Done)> {
    // Each lock is taken once, by the worker that has its index.
    let places: Vec<_> = answers.into_iter().map(|place| Mutex::new((place, Outcome::Continues))).collect();
    model.compute().pool().for_each_range(places.len(), &|range| {
        for place in &places[range] {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let ((_, sequence, row), outcome) = &mut *place;
            *outcome = sequence.step(row, metrics);
        }
    });
    let outcome = |place: Mutex<((usize, _, _), Outcome)>| {
        let ((at, ..), outcome) = place.into_inner().unwrap_or_else(PoisonError::into_inner);
        (at, Done::Answer(outcome))
    };
    places.into_iter().map(outcome).collect()
}
