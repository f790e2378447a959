//! What rounding costs, measured: the model before and after on the same text, in memory, before the file is written.

use crate::encode::{Encoder, Work};
use crate::faithful::{Faithful, stored_bytes, weights};
use crate::plan::Plan;
use crate::source::Source;
use crate::{CalibrationText, QuantizeError, QuantizeOptions, convert};
use edgellm::format::{Quality, Recipe};
use edgellm::{Compute, Model, Session, SessionOptions, TokenId};

/// Tokens of a window.
const WINDOW: usize = 512;
/// Positions whose logits are held at a time, of both models: a vocabulary of 250,000 takes 64 MB.
const CHUNK: usize = 32;
/// Running both models takes as long as reading and writing so many times the weights; for the progress.
const PASSES: u64 = 4;
/// A position counts as at most so many nats, so that perplexities are finite, which JSON demands.
const MOST_NATS: f64 = 700.0;

/// What to measure the cost of rounding on.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The text.
    pub text: CalibrationText,
    /// Tokens of the text to use, at most. They are spread over all of it.
    pub tokens: usize,
    /// What runs the models. The file does not depend on it.
    pub compute: Compute,
    /// How much the perplexity may rise, as a share of the source's. If it rises by more, nothing is written.
    pub max_loss: Option<f64>,
}

impl Measurement {
    /// Tokens that are used unless told otherwise: more than the text that comes with the program has.
    pub const TOKENS: usize = 16_384;

    /// The text that comes with the program, without a limit.
    pub fn new(compute: Compute) -> Self {
        Measurement { text: CalibrationText::held_out(), tokens: Self::TOKENS, compute, max_loss: None }
    }
}

/// Bytes of memory that measuring what a conversion costs takes, beside the mapped source; 0 if nothing is measured.
///
/// # Errors
/// As [`quantize`](crate::quantize), before anything is read.
pub fn measurement_memory(source: &Source<'_>, options: &QuantizeOptions) -> Result<u64, QuantizeError> {
    if options.quality.is_none() {
        return Ok(0);
    }
    let (tensors, plans) = convert::plans(source, options)?;
    if !plans.iter().any(Plan::is_rounded) {
        return Ok(0);
    }
    let mut bytes = 2 * CHUNK * source.config.vocab_size * size_of::<f32>();
    for (tensor, plan) in tensors.iter().zip(&plans) {
        let faithful = Plan::faithful(tensor)?;
        bytes += stored_bytes(tensor, &faithful);
        bytes += if plan.differs(&faithful) { stored_bytes(tensor, plan) } else { 0 };
    }
    Ok(bytes as u64)
}

/// Counts the work of [`run`].
pub(crate) fn announce(faithful: &mut Faithful<'_>, work: &mut Work<'_>) {
    faithful.announce(work);
    work.total += (1 + PASSES) * weights(faithful.tensors);
}

/// Measures what these plans cost. What is rounded by them is in memory afterwards. [`announce`] comes first.
///
/// # Errors
/// [`QuantizeError`] if the text is too short, the model cannot be run, the loss is above the limit, a weight is not finite, or the
/// work is cancelled.
pub(crate) fn run(
    faithful: &mut Faithful<'_>,
    plans: &mut [Plan],
    measurement: &Measurement,
    recipe: Recipe,
    work: &mut Work<'_>,
) -> Result<Quality, QuantizeError> {
    let failed = |source: edgellm::Error| QuantizeError::Measurement { source };
    let Measurement { text, tokens, compute, max_loss } = measurement;
    let open = |file| Model::with_compute(file, compute.clone()).map_err(failed);
    let source = open(faithful.bytes(work)?)?;
    let mut result = open(faithful.bytes(work)?)?;
    let mut encoder = Encoder::default();
    for ((tensor, plan), as_source) in faithful.tensors.iter().zip(plans.iter_mut()).zip(faithful.plans()?) {
        let mut counted = false;
        if plan.differs(&as_source) {
            let method = plan.method();
            if let (Some(encoded), Some(&layout)) = (encoder.packed(tensor, plan, work)?, plan.layout()) {
                *plan = Plan::Packed(layout, encoded, method);
                counted = true;
            }
            if let Plan::Packed(layout, encoded, _) = plan {
                result.replace(tensor.name(), *layout, encoded.bytes.clone()).map_err(failed)?;
            }
        }
        if !counted {
            work.advance(tensor.name(), tensor.weights())?;
        }
    }
    let length = WINDOW.min(source.config().max_position_embeddings);
    let windows = text
        .windows(&source, length, tokens / length.max(1))
        .map_err(|source| QuantizeError::MeasurementText { source })?;
    let mut both = Both::new(&source, &result, length).map_err(failed)?;
    let mut sums = Sums::default();
    let (all, count) = (PASSES * weights(faithful.tensors), windows.len() as u64);
    for (index, window) in (0..).zip(&windows) {
        both.window(window, &mut sums).map_err(failed)?;
        work.advance("what was lost", all * (index + 1) / count - all * index / count)?;
    }
    let quality = sums.quality(text.name(), recipe);
    match max_loss {
        Some(limit) if quality.loss() > *limit => {
            Err(QuantizeError::Loss { quality: Box::new(quality), limit: *limit })
        }
        _ => Ok(quality),
    }
}

/// Sessions of both models.
struct Both {
    sessions: [Session; 2],
    /// Logits of a chunk, (CHUNK, vocab_size).
    logits: [Vec<f32>; 2],
}

impl Both {
    fn new(source: &Model, result: &Model, length: usize) -> Result<Self, edgellm::Error> {
        let session = |model| {
            Session::new(model, SessionOptions { context_length: Some(length), ..SessionOptions::default() })
        };
        Ok(Both { sessions: [session(source)?, session(result)?], logits: Default::default() })
    }

    /// Scores the second half of a window, so that every scored token has at least half a window of context.
    fn window(&mut self, window: &[TokenId], sums: &mut Sums) -> Result<(), edgellm::Error> {
        let (context, scored) = window.split_at(window.len() / 2);
        for session in &mut self.sessions {
            session.reset();
            session.prefill(context)?;
        }
        // The last token's logits would predict a token outside the window.
        let inputs = &scored[..scored.len().saturating_sub(1)];
        let next = scored.get(1..).unwrap_or_default();
        for (inputs, next) in inputs.chunks(CHUNK).zip(next.chunks(CHUNK)) {
            for (session, logits) in self.sessions.iter_mut().zip(&mut self.logits) {
                logits.clear();
                session.prefill_each(inputs, |_, position| logits.extend_from_slice(position))?;
            }
            let [source, result] = &self.logits;
            let model = self.sessions[0].model();
            let size = model.config().vocab_size;
            let mut positions = vec![Position::default(); next.len()];
            model.compute().pool().for_each_mut(&mut positions, &|index, position| {
                let row = index * size..(index + 1) * size;
                *position = Position::new(&source[row.clone()], &result[row], next[index] as usize);
            });
            // In the order of the text, whichever thread was first.
            positions.iter().for_each(|position| sums.add(position));
        }
        Ok(())
    }
}

/// How both models predict a token, in nats.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    source: f64,
    result: f64,
    divergence: f64,
    same_top: bool,
}

impl Position {
    /// By both sides' logits, (vocab_size).
    fn new(source: &[f32], result: &[f32], token: usize) -> Self {
        let (source_top, result_top) = (first_largest(source), first_largest(result));
        let relative = |logits: &[f32], index: usize, top: usize| {
            f64::from(logits.get(index).copied().unwrap_or(f32::NAN))
                - f64::from(logits.get(top).copied().unwrap_or(f32::NAN))
        };
        let (mut source_total, mut result_total, mut difference) = (0.0, 0.0, 0.0);
        for index in 0..source.len() {
            let (s, r) = (relative(source, index, source_top), relative(result, index, result_top));
            // Of a library, not of the machine: every one gives the same file.
            let share = libm::exp(s);
            source_total += share;
            result_total += libm::exp(r);
            difference += share * (s - r);
        }
        let (source_total_log, result_total_log) = (libm::log(source_total), libm::log(result_total));
        Position {
            source: bounded(source_total_log - relative(source, token, source_top)),
            result: bounded(result_total_log - relative(result, token, result_top)),
            divergence: bounded(difference / source_total + result_total_log - source_total_log),
            same_top: source_top == result_top,
        }
    }
}

/// From 0 to [`MOST_NATS`], which stands for what is no number, too.
fn bounded(nats: f64) -> f64 {
    if nats.is_nan() { MOST_NATS } else { nats.clamp(0.0, MOST_NATS) }
}

/// Index of the first of the largest logits.
fn first_largest(logits: &[f32]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (1..logits.len()).fold(0, better)
}

/// Over positions.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: u64,
    source: f64,
    result: f64,
    divergence: f64,
    same_top: u64,
}

impl Sums {
    fn add(&mut self, position: &Position) {
        self.count += 1;
        self.source += position.source;
        self.result += position.result;
        self.divergence += position.divergence;
        self.same_top += u64::from(position.same_top);
    }

    fn quality(&self, text: &str, calibration: Recipe) -> Quality {
        let count = self.count.max(1) as f64;
        Quality {
            text: text.to_string(),
            tokens: self.count,
            source_perplexity: six_digits(libm::exp(self.source / count)),
            perplexity: six_digits(libm::exp(self.result / count)),
            kl_divergence: six_digits(self.divergence / count),
            same_top_token: six_digits(self.same_top as f64 / count),
            calibration,
        }
    }
}

/// With six significant digits: more say nothing, and these survive JSON.
fn six_digits(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests;
