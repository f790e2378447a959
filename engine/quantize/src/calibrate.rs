//! Calibration: the model runs on some text, and weights are rounded by what their layers see.
//!
//! Block after block: a layer's inputs are those that the layers before it give with their rounded weights. A layer runs twice,
//! once as in the source, for sums over the inputs of its matrices, and once rounded, for the inputs of the next layer.

mod factor;
mod feedback;
mod gram;
pub(crate) mod observer;
mod text;

pub use text::{CalibrationText, CalibrationTextError};

use crate::encode::{StoredRow, Work, add_errors, pack};
use crate::faithful::{Faithful, stored_bytes};
use crate::options::{Format, QuantizeOptions, Target};
use crate::plan::{Encoded, Plan};
use crate::report::{ErrorSum, Method};
use crate::round::weighted;
use crate::source::{Source, SourceTensor};
use crate::{QuantizeError, convert};
use edgellm::config::ModelConfig;
use edgellm::linear::{LinearHooks, LinearId};
use edgellm::tensors::Role;
use edgellm::{Compute, Model, Precision, ResidualStream};
use edgellm_kernels::layout::{Layout, STRIP};
use factor::Factor;
use feedback::{Feedback, Strip};
use gram::Gram;
use observer::{Observer, Sums, leader};
use std::collections::BTreeMap;

/// Tokens of a window.
const WINDOW: usize = 512;
/// What is added to each diagonal entry of X^T X, as a share of itself: each column is damped as its inputs are large, so that those
/// with small inputs still make up for others. docs/experiments/calibration.md has the choices.
const DAMPING: f64 = 0.1;
/// Columns from which on the products of all pairs would take too much memory.
const MOST_COLS: usize = 16_384;
/// A layer takes as long as reading and writing so many times its weights; for the progress.
const PASSES: u64 = 24;

/// How the weights of a layer are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalibrationMethod {
    /// To nearest, with each column's errors weighted by its mean squared input.
    Weights,
    /// By GPTQ (arXiv 2210.17323): each column makes up for the rounding errors of those before it.
    Gptq,
}

impl CalibrationMethod {
    /// Name on the command line and in the file.
    pub const fn name(self) -> &'static str {
        match self {
            CalibrationMethod::Weights => "weights",
            CalibrationMethod::Gptq => "gptq",
        }
    }
}

/// Text to run a model on, and what to do with what its layers see.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The text.
    pub text: CalibrationText,
    /// What to do.
    pub method: CalibrationMethod,
    /// Tokens of the text to use, at most.
    pub tokens: usize,
    /// What runs the model. The file does not depend on it.
    pub compute: Compute,
}

impl Calibration {
    /// Tokens that are used unless told otherwise. With a quarter of them, rounding fits the text more than the language.
    pub const TOKENS: usize = 65_536;

    /// The text that comes with the program, by GPTQ.
    pub fn new(compute: Compute) -> Self {
        let (text, method) = (CalibrationText::built_in(), CalibrationMethod::Gptq);
        Calibration { text, method, tokens: Self::TOKENS, compute }
    }

    /// Bytes of memory that it takes to round what `plans` round; 0 if nothing gains by it.
    fn memory(
        &self,
        source: &Source<'_>,
        tensors: &[SourceTensor<'_>],
        plans: &[Plan],
    ) -> Result<u64, QuantizeError> {
        let config = &source.config;
        let wanted = wanted(config, tensors, plans);
        let cols = |index: &usize| tensors.get(*index).map_or(0, |tensor| tensor.shape()[1]);
        // The sums of a layer, or the head's, are there together, and then one factor after the other.
        let sums = |layer: Option<usize>| {
            let is_here = |id: LinearId| match layer {
                Some(layer) => is_in(Role::Linear(id), layer),
                None => id == LinearId::LmHead,
            };
            let here = wanted.iter().filter(|(id, _)| is_here(**id));
            let widths = here
                .filter_map(|(_, group)| group.first().map(cols))
                .filter(|&cols| self.sums_products(cols));
            let (all, widest) =
                widths.fold((0, 0), |(all, widest), cols| (all + Gram::bytes(cols), cols.max(widest)));
            all + Factor::bytes(widest)
        };
        if wanted.is_empty() {
            return Ok(0);
        }
        let (mut faithful, mut rounded) = (0, 0);
        for (tensor, plan) in tensors.iter().zip(plans) {
            faithful += stored_bytes(tensor, &Plan::faithful(tensor)?);
            rounded += stored_bytes(tensor, plan);
        }
        let stream = self.tokens * config.hidden_size * size_of::<f32>();
        let places = (0..config.num_hidden_layers).map(Some).chain([None]);
        let sums = places.map(sums).max().unwrap_or(0);
        Ok((faithful + rounded + stream) as u64 + sums)
    }

    fn sums_products(&self, cols: usize) -> bool {
        self.method == CalibrationMethod::Gptq && cols <= MOST_COLS
    }
}

/// The layer whose inputs decide how a tensor is rounded, if any do: a head that is the embedding is rounded as head.
pub(crate) fn layer_of(tensor: &SourceTensor<'_>, config: &ModelConfig) -> Option<LinearId> {
    match tensor.role() {
        Role::Linear(id) => Some(id),
        Role::Embedding if config.tie_word_embeddings => Some(LinearId::LmHead),
        _ => None,
    }
}

/// Whether calibration makes a tensor better. 8 bits leave nothing to gain; the inputs of rotated matrices are not those that the
/// engine shows.
fn gains(tensor: &SourceTensor<'_>, plan: &Plan) -> bool {
    matches!(plan, Plan::Rounded(_, target, None) if target.max_code < Format::Int8.target().max_code)
        && !tensor.rotated()
}

/// What calibration makes better, by the layer that leads those with the same input.
fn wanted(config: &ModelConfig, tensors: &[SourceTensor<'_>], plans: &[Plan]) -> Groups {
    let mut wanted = Groups::new();
    for (index, (tensor, plan)) in tensors.iter().zip(plans).enumerate() {
        if let Some(id) = layer_of(tensor, config).filter(|_| gains(tensor, plan)) {
            wanted.entry(leader(id)).or_default().push(index);
        }
    }
    wanted
}

/// Replaces the plans of what is rounded by what calibration makes of it. Returns the tokens that the model was run on, none if no
/// plan gains.
///
/// # Errors
/// [`QuantizeError`] if the text is too short, the model cannot be run, a weight is not finite, or the work is cancelled.
pub(crate) fn run(
    faithful: &mut Faithful<'_>,
    plans: &mut [Plan],
    calibration: &Calibration,
    work: &mut Work<'_>,
) -> Result<usize, QuantizeError> {
    let Faithful { source, tensors, .. } = *faithful;
    let config = &source.config;
    let mut wanted = wanted(config, tensors, plans);
    if wanted.is_empty() {
        return Ok(0);
    }
    let in_layer = |index: usize| tensors.iter().filter(move |tensor| is_in(tensor.role(), index));
    let in_layers: u64 = (0..config.num_hidden_layers).flat_map(in_layer).map(SourceTensor::weights).sum();
    faithful.announce(work);
    work.total += PASSES * in_layers;
    let model = Model::with_compute(faithful.bytes(work)?, calibration.compute.clone())?;
    let length = WINDOW.min(config.max_position_embeddings);
    let windows = calibration.text.windows(&model, length, calibration.tokens / length)?;
    let tokens = windows.len() * length;
    let mut stream = ResidualStream::new(&model, windows, Precision::Standard)?;
    let mut run = Run { model, tensors, plans, calibration };
    for layer in 0..config.num_hidden_layers {
        let mut groups = wanted.clone();
        groups.retain(|&id, _| is_in(Role::Linear(id), layer));
        run.layer(layer, &groups, &mut stream)?;
        work.advance(
            &format!("layer {layer}"),
            PASSES * in_layer(layer).map(SourceTensor::weights).sum::<u64>(),
        )?;
    }
    wanted.retain(|&id, _| id == LinearId::LmHead);
    let mut observer = run.observer(&wanted);
    stream.head_inputs(&run.model, |states| observer.observe(LinearId::LmHead, states, config.hidden_size));
    run.round(&mut observer, &wanted)?;
    Ok(tokens)
}

pub(crate) fn is_in(role: Role, index: usize) -> bool {
    matches!(role, Role::Linear(LinearId::Layer { layer, .. }) if layer == index)
}

/// Bytes of memory that a conversion's calibration takes, beside the mapped source; 0 if it does not calibrate.
///
/// # Errors
/// As [`quantize`](crate::quantize), before anything is read.
pub fn calibration_memory(source: &Source<'_>, options: &QuantizeOptions) -> Result<u64, QuantizeError> {
    let Some(calibration) = &options.calibration else { return Ok(0) };
    let (tensors, plans) = convert::plans(source, options)?;
    calibration.memory(source, &tensors, &plans)
}

/// Tensors by the layer that leads those with the same input.
type Groups = BTreeMap<LinearId, Vec<usize>>;

/// A calibration: the model, of which more and more is rounded.
struct Run<'a> {
    model: Model,
    tensors: &'a [SourceTensor<'a>],
    plans: &'a mut [Plan],
    calibration: &'a Calibration,
}

impl<'a> Run<'a> {
    /// Runs a layer and rounds the tensors of `groups` in it.
    fn layer(
        &mut self,
        layer: usize,
        groups: &Groups,
        stream: &mut ResidualStream,
    ) -> Result<(), QuantizeError> {
        let mut observer = self.observer(groups);
        if self.calibration.method == CalibrationMethod::Weights {
            // Nothing changes before the file is written.
            stream.advance(&self.model, layer, &mut observer);
            return self.round(&mut observer, groups);
        }
        if !groups.is_empty() {
            stream.observe(&self.model, layer, &mut observer);
            self.round(&mut observer, groups)?;
        }
        stream.advance(&self.model, layer, &mut ());
        Ok(())
    }

    /// An observer of what rounds the tensors of `groups`.
    fn observer(&self, groups: &Groups) -> Observer<'a> {
        let mut observer = Observer::new(&self.calibration.compute);
        for (&id, group) in groups {
            if let Some(tensor) = group.first().and_then(|&index| self.tensors.get(index)) {
                let cols = tensor.shape()[1];
                observer.want(id, cols, self.calibration.sums_products(cols));
            }
        }
        observer
    }

    /// Rounds the tensors of `groups` by what was observed.
    fn round(&mut self, observer: &mut Observer<'_>, groups: &Groups) -> Result<(), QuantizeError> {
        for (id, sums) in observer.take() {
            let factor = match &sums {
                Sums::Products(gram) => Factor::new(&self.calibration.compute, gram, DAMPING),
                Sums::Squares(_) => None,
            };
            let squares = sums.squares();
            drop(sums);
            for &index in groups.get(&id).into_iter().flatten() {
                let (Some(tensor), Some(plan)) = (self.tensors.get(index), self.plans.get_mut(index)) else {
                    continue;
                };
                let Plan::Rounded(layout, target, weights) = plan else { continue };
                let columns = weighted::normalize(&squares, layout.group_size());
                match &factor {
                    // As without calibration, if what was seen are no numbers.
                    None if squares.iter().any(|square| !square.is_finite()) => {}
                    None => *weights = Some(columns),
                    Some(factor) => {
                        let (layout, target) = (*layout, *target);
                        let encoded =
                            by_feedback(&self.calibration.compute, tensor, layout, target, factor, &columns)?;
                        self.model.replace(tensor.name(), layout, encoded.bytes.clone())?;
                        *plan = Plan::Packed(layout, encoded, Method::Gptq);
                    }
                }
            }
        }
        Ok(())
    }
}

/// One strip: where its bytes go, and what became of it.
struct Job<'a> {
    bytes: &'a mut [u8],
    outcome: Result<ErrorSum, QuantizeError>,
}

/// Rounds a matrix by GPTQ, strips on all threads.
fn by_feedback(
    compute: &Compute,
    tensor: &SourceTensor<'_>,
    layout: Layout,
    target: Target,
    factor: &Factor,
    weights: &[f32],
) -> Result<Encoded, QuantizeError> {
    let feedback = Feedback { kernels: compute.kernels(), factor, layout: &layout, target, weights };
    let mut bytes = vec![0; layout.total_bytes()];
    let strips = bytes.chunks_exact_mut(layout.strip_bytes());
    let mut jobs: Vec<Job<'_>> =
        strips.map(|bytes| Job { bytes, outcome: Ok(ErrorSum::default()) }).collect();
    compute.pool().for_each_mut(&mut jobs, &|index, job| {
        job.outcome = strip(tensor, &feedback, index * STRIP, job.bytes);
    });
    let mut errors = ErrorSum::default();
    for job in jobs {
        errors.merge(&job.outcome?);
    }
    Ok(Encoded { bytes: bytes.into(), errors })
}

/// Rounds the rows of a strip and packs them.
fn strip(
    tensor: &SourceTensor<'_>,
    feedback: &Feedback<'_>,
    first: usize,
    bytes: &mut [u8],
) -> Result<ErrorSum, QuantizeError> {
    let layout = feedback.layout;
    let (cols, rows) = (layout.cols(), STRIP.min(layout.rows() - first));
    let mut strip = Strip::new(layout);
    for (row, values) in strip.values.chunks_exact_mut(cols).enumerate().take(rows) {
        tensor.read_row(first + row, values)?;
    }
    feedback.round(&mut strip, rows);
    let Strip { values, codes, scales, mins, halves, .. } = &strip;
    let (groups, mins_a_row) = (layout.groups(), mins.len() / STRIP);
    let mut errors = ErrorSum::default();
    for row in 0..rows {
        let mins = mins.get(row * mins_a_row..(row + 1) * mins_a_row).unwrap_or_default();
        let (values, codes) = (&values[row * cols..][..cols], &codes[row * cols..][..cols]);
        let scales = &scales[row * groups..][..groups];
        let stored = StoredRow { codes, scales, mins, halves: halves[row] };
        add_errors(&mut errors, layout, 1.0, values, stored);
    }
    let mins = &mins[..rows * mins_a_row];
    pack(layout, &codes[..rows * cols], &scales[..rows * groups], mins, &halves[..rows], bytes);
    Ok(errors)
}
