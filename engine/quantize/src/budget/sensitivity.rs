//! What each matrix loses: measured with three bits, one matrix after the other, and scaled to other widths.

use super::allocate::Choice;
use super::divergence::Reference;
use super::{Matrix, Probe, Sensitivity, SizeRange, Width, WidthOption, rounding, size};
use crate::calibrate::observer::{Observer, leader};
use crate::calibrate::{is_in, layer_of};
use crate::encode::Work;
use crate::faithful::{Faithful, weights};
use crate::plan::Plan;
use crate::source::{Source, SourceTensor};
use crate::{Format, Progress, QuantizeError, QuantizeOptions, convert};
use edgellm::linear::LinearId;
use edgellm::tensors::Role;
use edgellm::{Model, Precision, ResidualStream, TokenId};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Tokens of a window.
const WINDOW: usize = 256;
/// First positions of a window that do not count: what follows so few tokens is a guess.
const FIRST: usize = 16;
/// Bytes of the source's predictions, at most: beyond that not every position counts.
const MOST_BYTES: usize = 128 << 20;
/// Rounded to this, a matrix alone is measured: the second if the source has the codes of the first.
pub(super) const PROBES: [Width; 2] = [Width::of(Format::Int3, None), Width::of(Format::Int2, None)];
/// A run on a window of text takes as long as reading and writing so many times the weights; for the progress.
const PASSES: u64 = 2;

/// Measures what each matrix of a model loses at each width. What `options` say about formats has no effect.
///
/// # Errors
/// [`QuantizeError`] if the text is too short, the model cannot be run, a weight is not finite, or `progress` stops the work.
pub fn sensitivity(
    source: &Source<'_>,
    options: &QuantizeOptions,
    probe: &Probe,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Sensitivity, QuantizeError> {
    let (tensors, _) = convert::plans(source, options)?;
    let weights = weights(&tensors);
    let mut work = Work { done: 0, total: weights, progress };
    let matrices: Vec<&SourceTensor<'_>> =
        tensors.iter().filter(|tensor| tensor.role() != Role::Float).collect();
    let costs: Vec<u64> = matrices.iter().map(|matrix| PASSES * from(&tensors, matrix.role())).collect();
    work.total += PASSES * weights + costs.iter().sum::<u64>();
    let file = Faithful::new(source, &tensors).bytes(&mut work)?;
    let model = Model::with_compute(file, probe.compute.clone())?;
    let length = WINDOW.min(source.config.max_position_embeddings);
    let windows = probe.text.windows(&model, length, probe.tokens / length.max(1))?;
    let mut run = Run::new(model, options, probe, windows, &matrices)?;
    work.advance("the model as it is", PASSES * weights)?;
    let mut found = Vec::with_capacity(matrices.len());
    let mut at = 0;
    for (&tensor, cost) in matrices.iter().zip(costs) {
        // Tensors are in the order of the layers.
        if let Role::Linear(id) = tensor.role() {
            let layer = match id {
                LinearId::Layer { layer, .. } => layer,
                LinearId::LmHead => source.config.num_hidden_layers,
            };
            while at < layer {
                run.base.advance(&run.model, at, &mut ());
                at += 1;
            }
        }
        found.push(run.matrix(tensor, at)?);
        work.advance(tensor.name(), cost)?;
    }
    Ok(Sensitivity { matrices: found, sizes: SizeRange::of(source, options)? })
}

/// Bytes of memory that [`sensitivity`] takes, beside the mapped source.
///
/// # Errors
/// If the options do not fit the source.
pub fn sensitivity_memory(
    source: &Source<'_>,
    options: &QuantizeOptions,
    probe: &Probe,
) -> Result<u64, QuantizeError> {
    let (tensors, _) = convert::plans(source, options)?;
    let config = &source.config;
    let (mut model, mut largest) = (0, 0);
    for tensor in &tensors {
        model += size::bytes(tensor, &Plan::faithful(tensor)?);
        // Half a byte a weight, while it is measured.
        largest = largest.max(tensor.weights() / 2);
    }
    let streams = 2 * probe.tokens * config.hidden_size * size_of::<f32>();
    let predictions = MOST_BYTES.min(probe.tokens * config.vocab_size * size_of::<f32>());
    Ok(model + largest + (streams + predictions) as u64)
}

/// Weights that run when a matrix has changed.
fn from(tensors: &[SourceTensor<'_>], role: Role) -> u64 {
    let runs = |tensor: &&SourceTensor<'_>| match (role, tensor.role()) {
        (_, Role::Embedding | Role::Linear(LinearId::LmHead)) => true,
        (Role::Linear(LinearId::Layer { layer, .. }), Role::Linear(LinearId::Layer { layer: other, .. })) => {
            other >= layer
        }
        (Role::Embedding, Role::Linear(_)) => true,
        _ => false,
    };
    tensors.iter().filter(runs).map(SourceTensor::weights).sum()
}

/// The measurement under way.
struct Run<'a> {
    model: Model,
    options: &'a QuantizeOptions,
    probe: &'a Probe,
    windows: Vec<Vec<TokenId>>,
    /// Before the layer whose matrices are measured.
    base: ResidualStream,
    trial: ResidualStream,
    reference: Reference,
    /// One of so many positions counts.
    stride: usize,
    /// Mean squares of the inputs, by the leader of the layers that share them.
    squares: BTreeMap<LinearId, Vec<f32>>,
}

impl<'a> Run<'a> {
    fn new(
        model: Model,
        options: &'a QuantizeOptions,
        probe: &'a Probe,
        windows: Vec<Vec<TokenId>>,
        matrices: &[&SourceTensor<'_>],
    ) -> Result<Self, QuantizeError> {
        let config = model.config();
        let stream = || ResidualStream::new(&model, windows.clone(), Precision::Standard);
        let (base, mut trial) = (stream()?, stream()?);
        let mut observer = Observer::new(&probe.compute);
        for tensor in matrices {
            if let Some(id) = layer_of(tensor, config) {
                observer.want(leader(id), tensor.shape()[1], false);
            }
        }
        for layer in 0..config.num_hidden_layers {
            trial.advance(&model, layer, &mut observer);
        }
        trial.head_inputs(&model, |states| {
            edgellm::linear::LinearHooks::observe(
                &mut observer,
                LinearId::LmHead,
                states,
                config.hidden_size,
            );
        });
        let squares = observer.take().into_iter().map(|(id, sums)| (id, sums.squares())).collect();
        let bytes = trial.tokens() * config.vocab_size * size_of::<f32>();
        let stride = bytes.div_ceil(MOST_BYTES).max(1);
        let mut reference = Reference::new(config.vocab_size);
        trial.logits(&model, wanted(&windows, stride), |rows| reference.add(rows));
        Ok(Run { options, probe, base, trial, reference, stride, squares, windows, model })
    }

    /// Measures a matrix; `layer` is where the base stream is.
    fn matrix(&mut self, tensor: &SourceTensor<'_>, layer: usize) -> Result<Matrix, QuantizeError> {
        let importance = self.importance(tensor);
        let mut options = Vec::new();
        for width in Width::ALL {
            let mut plan = Plan::at(tensor, width, self.options)?;
            if let Some(importance) = &importance {
                plan.weigh(importance);
            }
            let loss = rounding::error(&self.probe.compute, tensor, &plan, importance.as_deref())?;
            let bytes = size::bytes(tensor, &plan);
            options.push((WidthOption { width, cost: Choice { bytes, loss } }, plan));
        }
        let probed = PROBES.iter().find_map(|probe| {
            options.iter().find(|(option, _)| option.width == *probe && option.cost.loss > 0.0)
        });
        let scale = match probed {
            // Nothing rounds it at all.
            None => 0.0,
            Some((WidthOption { cost, .. }, plan)) => {
                let layout = plan.layout().copied();
                let loss = cost.loss;
                match layout.zip(rounding::packed(tensor, plan)?) {
                    Some((layout, encoded)) => {
                        self.model.replace(tensor.name(), layout, encoded.bytes)?;
                        let divergence = self.divergence(tensor.role(), layer)?;
                        self.model.restore(tensor.name())?;
                        divergence / loss
                    }
                    None => 0.0,
                }
            }
        };
        let scaled = options.into_iter().map(|(option, _)| {
            let cost = Choice { loss: option.cost.loss * scale, ..option.cost };
            WidthOption { cost, ..option }
        });
        Ok(Matrix { name: tensor.name().to_string(), options: scaled.collect() })
    }

    /// How much each column of a matrix matters, if nobody has said so and the engine shows its inputs.
    fn importance(&self, tensor: &SourceTensor<'_>) -> Option<Vec<f32>> {
        if let Some(importance) = &self.options.importance
            && let Ok(Some(means)) = importance.of(tensor)
        {
            return Some(means.to_vec());
        }
        let id = layer_of(tensor, self.model.config()).filter(|_| !tensor.rotated())?;
        let squares = self.squares.get(&leader(id))?;
        let known = squares.iter().all(|square| square.is_finite()) && squares.iter().any(|&x| x > 0.0);
        known.then(|| squares.clone())
    }

    /// The mean divergence from the source's predictions.
    fn divergence(&mut self, role: Role, layer: usize) -> Result<f64, QuantizeError> {
        let (model, layers) = (&self.model, self.model.config().num_hidden_layers);
        if role == Role::Embedding {
            self.trial = ResidualStream::new(model, self.windows.clone(), Precision::Standard)?;
        } else {
            self.trial.copy_from(&self.base);
        }
        debug_assert!(layer == layers || role == Role::Embedding || is_in(role, layer));
        for layer in layer..layers {
            self.trial.advance(model, layer, &mut ());
        }
        let (mut sum, mut first) = (0.0, 0);
        let (reference, compute) = (&self.reference, &self.probe.compute);
        self.trial.logits(model, wanted(&self.windows, self.stride), |rows| {
            sum += reference.sum(compute, first, rows);
            first += rows.len() / model.config().vocab_size.max(1);
        });
        // What is no number is as bad as can be.
        let mean = sum / reference.positions().max(1) as f64;
        Ok(if mean.is_finite() { mean.max(0.0) } else { f64::from(f32::MAX) })
    }
}

/// The positions that count.
fn wanted(windows: &[Vec<TokenId>], stride: usize) -> impl Fn(usize) -> bool + use<> {
    // A window that is shorter counts from its middle on.
    let first = FIRST.min(windows.first().map_or(0, |window| window.len() / 2));
    move |position| position >= first && (position - first).is_multiple_of(stride)
}
