//! One target, number of threads and prompt: its answer, and the samples of its runs.

use crate::hash::answer_hash;
use crate::process::Usage;
use crate::protocol::{Done, Ready};
use crate::report::{Row, Samples};
use crate::statistics::Figure;
use std::time::Duration;

/// The state of one cell.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// Which worker runs it.
    pub(crate) seat: usize,
    /// Which prompt.
    pub(crate) prompt: usize,
    answer: Option<Answer>,
    logits_hash: Option<String>,
    agreeing_tokens: Option<usize>,
    problem: Option<String>,
    samples: Samples,
    inter_token_ms: Vec<f64>,
    peak_rss_bytes: Vec<f64>,
    steady_rss_bytes: Vec<f64>,
    cpu_percent: Vec<f64>,
    joules_per_token: Vec<f64>,
}

/// What a worker generated: tokens, or text if the engine does not report tokens.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    token_ids: Vec<u32>,
    text: Option<String>,
}

impl Answer {
    fn of(done: &Done) -> Self {
        Answer { token_ids: done.token_ids.clone(), text: done.text.clone() }
    }

    fn hash(&self) -> String {
        match &self.text {
            Some(text) if self.token_ids.is_empty() => {
                answer_hash(&text.bytes().map(u32::from).collect::<Vec<_>>())
            }
            _ => answer_hash(&self.token_ids),
        }
    }
}

/// Four decimals are finer than clocks, and keep reports short.
fn short(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

impl Cell {
    pub(crate) fn new(seat: usize, prompt: usize) -> Self {
        Cell { seat, prompt, ..Cell::default() }
    }

    /// Measuring has stopped, and the row says why.
    pub(crate) fn fail(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Records the first answer, which later ones must repeat. If it must equal `expected`, a difference ends the cell.
    pub(crate) fn check(&mut self, done: &Done, generate: usize, expected: Option<(&str, &Done)>) {
        let count = done.token_ids.len();
        if done.text.is_none() && count != generate {
            self.fail(format!("{count} tokens instead of {generate}"));
        }
        if let Some((name, expected)) = expected {
            let differing = done.token_ids.iter().zip(&expected.token_ids).position(|(a, b)| a != b);
            if let Some(index) = differing {
                let (ours, theirs) = (done.token_ids[index], expected.token_ids[index]);
                self.fail(format!(
                    "a different answer than {name}: token {} is {ours}, not {theirs}",
                    index + 1
                ));
            } else if done.logits_hash.is_some() && done.logits_hash != expected.logits_hash {
                self.fail(format!("the same tokens as {name} from different logits"));
            }
        }
        self.logits_hash.clone_from(&done.logits_hash);
        self.answer = Some(Answer::of(done));
    }

    /// Counts the leading tokens that equal those of `reference`.
    pub(crate) fn compare(&mut self, done: &Done, reference: Option<(&str, &Done)>) {
        let Some((_, reference)) = reference.filter(|_| !done.token_ids.is_empty()) else { return };
        let pairs = done.token_ids.iter().zip(&reference.token_ids);
        self.agreeing_tokens = Some(pairs.take_while(|(a, b)| a == b).count());
    }

    /// Every run must give the same answer.
    pub(crate) fn compare_runs(&mut self, done: &Done) {
        if self.answer.as_ref().is_some_and(|answer| *answer != Answer::of(done)) {
            self.fail("its answers differ between runs".to_string());
        }
    }

    /// Records a run's samples, if its answer is right.
    pub(crate) fn keep(
        &mut self,
        done: &Done,
        prompt_tokens: usize,
        wall: Duration,
        before: Option<Usage>,
        after: Option<Usage>,
        joules: Option<f64>,
    ) {
        self.compare_runs(done);
        if self.problem.is_some() {
            return;
        }
        let samples = &mut self.samples;
        let prefill_ms = done.prefill_ms.unwrap_or(done.ttft_ms);
        samples.ttft_ms.push(short(done.ttft_ms));
        samples.prefill_tokens_per_second.push(short(prompt_tokens as f64 * 1e3 / prefill_ms));
        let decode: f64 = done.inter_token_ms.iter().sum();
        if decode > 0.0 {
            samples.decode_tokens_per_second.push(short(done.inter_token_ms.len() as f64 * 1e3 / decode));
        }
        samples.trace_ms = done.inter_token_ms.iter().copied().map(short).collect();
        self.inter_token_ms.extend(&done.inter_token_ms);
        if let Some(usage) = after {
            self.peak_rss_bytes.push(usage.peak_rss_bytes as f64);
            self.steady_rss_bytes.push(usage.rss_bytes as f64);
            let spent = usage.cpu_seconds - before.map_or(f64::NAN, |usage| usage.cpu_seconds);
            self.cpu_percent.push(100.0 * spent / wall.as_secs_f64());
        }
        if let Some(joules) = joules {
            self.joules_per_token.push(joules / (done.inter_token_ms.len() + 1) as f64);
        }
    }

    /// Completes `row`.
    pub(crate) fn row(mut self, row: Row, ready: &Ready, cold_start_ms: &[f64], load_ms: &[f64]) -> Row {
        let inter_token_ms = Figure::of(&self.inter_token_ms);
        self.samples.cold_start_ms = cold_start_ms.to_vec();
        let samples = &self.samples;
        Row {
            engine: ready.engine.clone(),
            variant: ready.variant.clone(),
            kernel: ready.kernel.clone(),
            answer_hash: self.answer.as_ref().map(Answer::hash),
            agreeing_tokens: self.agreeing_tokens,
            logits_hash: self.logits_hash,
            cold_start_ms: Figure::of(cold_start_ms),
            load_ms: Figure::of(load_ms),
            ttft_ms: Figure::of(&samples.ttft_ms),
            prefill_tokens_per_second: Figure::of(&samples.prefill_tokens_per_second),
            decode_tokens_per_second: Figure::of(&samples.decode_tokens_per_second),
            inter_token_ms,
            jitter_ms: inter_token_ms.map(|figure| figure.p99 - figure.p50),
            peak_rss_bytes: Figure::of(&self.peak_rss_bytes),
            steady_rss_bytes: Figure::of(&self.steady_rss_bytes),
            cpu_percent: Figure::of(&self.cpu_percent),
            weight_bytes_per_token: ready.weight_bytes_per_token,
            joules_per_token: Figure::of(&self.joules_per_token),
            problem: self.problem,
            samples: self.samples,
            ..row
        }
    }
}
