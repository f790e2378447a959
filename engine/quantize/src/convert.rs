//! The conversion: strip by strip, so that no whole tensor is ever held as floats.

use crate::codes::Codes;
use crate::gguf::GgmlType;
use crate::options::{Format, I2sOrder, QuantizeOptions, Target};
use crate::report::{ErrorSum, Method, Progress, Report, TensorReport};
use crate::round::{Ternary, affine, binary, symmetric, weighted};
use crate::source::{Source, SourceTensor};
use crate::{QuantizeError, warnings};
use edgellm::format::{
    Metadata, Quantization, Section, TensorEncoding, TensorEntry, TensorError, WriteError, Writer,
};
use edgellm::linear::LinearId;
use edgellm::tensors::Role;
use edgellm_kernels::layout::{BLOCK, Encoding, Layout, STRIP, Zero, f16_to_f32, pack_strip};
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;

/// How one tensor is to be stored.
enum Plan {
    Float,
    Kept(Layout, Codes),
    /// With the weights of the columns, if they are known.
    Rounded(Layout, Target, Option<Vec<f32>>),
}

impl Plan {
    fn new(tensor: &SourceTensor<'_>, options: &QuantizeOptions) -> Result<Plan, QuantizeError> {
        let [rows, cols] = tensor.shape();
        let is_head = match tensor.role() {
            Role::Float => return Ok(Plan::Float),
            Role::Embedding | Role::Linear(LinearId::LmHead) => true,
            Role::Linear(_) => false,
        };
        let importance = options.importance.as_ref().map_or(Ok(None), |importance| importance.of(tensor))?;
        let (format, group_size) = match is_head {
            true => (options.head.format(options.format), None),
            false => (options.format, options.group_size),
        };
        if let Some(codes) = kept(tensor, format, group_size) {
            let layout = layout(rows, cols, codes.encoding, codes.zero, codes.group_size)?;
            return Ok(Plan::Kept(layout, codes));
        }
        // Floats of the head that need not be kept.
        let format = if is_head && format == Format::Auto { Format::Int8 } else { format };
        let target = format.target();
        let group_size = group_size.unwrap_or(format.default_group_size());
        let layout = layout(rows, cols, target.encoding, target.zero, group_size)?;
        let weights = importance.map(|means| weighted::normalize(means, layout.group_size()));
        Ok(Plan::Rounded(layout, target, weights))
    }

    fn encoding(&self) -> TensorEncoding {
        match self {
            Plan::Float => TensorEncoding::F32,
            Plan::Kept(layout, _) | Plan::Rounded(layout, ..) => layout.into(),
        }
    }

    /// What the file says the weights are multiplied by. What is rounded has the product in the scales of its groups.
    fn scale(&self, tensor: &SourceTensor<'_>) -> Option<f32> {
        let kept = matches!(self, Plan::Kept(..)) && tensor.scale() != 1.0;
        kept.then_some(tensor.scale())
    }

    fn method(&self) -> Method {
        match self {
            Plan::Float => Method::Float,
            Plan::Kept(_, Codes { exact: true, .. }) => Method::Lossless,
            Plan::Kept(..) => Method::Codes,
            Plan::Rounded(_, _, None) => Method::Rounded,
            Plan::Rounded(_, _, Some(_)) => Method::Weighted,
        }
    }
}

/// The tensor with its codes in the order that the options say, if its type does not tell.
fn in_order<'a>(
    tensor: &SourceTensor<'a>,
    options: &QuantizeOptions,
) -> Result<SourceTensor<'a>, QuantizeError> {
    match (tensor.ggml_type(), options.i2s_order) {
        (Some(GgmlType::I2_S), None) => Err(QuantizeError::I2sOrder { name: tensor.name().to_string() }),
        (Some(GgmlType::I2_S), Some(I2sOrder::Arm)) => Ok(tensor.clone().with_type(GgmlType::I2_S_ARM)),
        _ => Ok(tensor.clone()),
    }
}

/// The codes that a format keeps of a tensor, if any: all, or those that are of the format already.
fn kept(tensor: &SourceTensor<'_>, format: Format, group_size: Option<usize>) -> Option<Codes> {
    let codes = tensor.codes()?;
    let fits = group_size.is_none_or(|size| size == codes.group_size);
    match format {
        Format::Auto => Some(codes),
        Format::Int8 if fits => codes.as_bytes(),
        format if fits && codes.encoding == format.target().encoding => Some(codes),
        _ => None,
    }
}

fn layout(
    rows: usize,
    cols: usize,
    encoding: Encoding,
    zero: Zero,
    group_size: usize,
) -> Result<Layout, QuantizeError> {
    let group_size = if group_size == 0 { cols.next_multiple_of(BLOCK) } else { group_size };
    Layout::new(rows, cols, encoding, zero, group_size).map_err(|source| QuantizeError::GroupSize { source })
}

/// Converts a model and writes it to `out`, an empty file.
///
/// `progress` is called for every strip of 32 rows; [`ControlFlow::Break`] stops the conversion. After an error or stop, what
/// has been written is not a valid model file; delete it.
///
/// # Errors
/// [`QuantizeError`] if the options are invalid, a weight is not finite, writing fails, or `progress` stops the conversion.
pub fn quantize<W: Write + Seek>(
    source: &Source<'_>,
    options: &QuantizeOptions,
    out: W,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Report, QuantizeError> {
    let tensors: Vec<SourceTensor<'_>> =
        source.tensors().iter().map(|tensor| in_order(tensor, options)).collect::<Result<_, _>>()?;
    let importance = options.importance.as_ref().map(|importance| importance.fit(&tensors)).transpose()?;
    let plans: Vec<Plan> =
        tensors.iter().map(|tensor| Plan::new(tensor, options)).collect::<Result<_, _>>()?;
    let entries = tensors
        .iter()
        .zip(&plans)
        .map(|(tensor, plan)| {
            let entry = Writer::<W>::entry(tensor.name(), tensor.shape(), plan.encoding());
            TensorEntry { scale: plan.scale(tensor), rotated: tensor.rotated(), ..entry }
        })
        .collect();
    let metadata = Metadata {
        name: source.name.clone(),
        config: source.config.clone(),
        chat_template: source.chat_template.clone(),
        bos_token: Some(source.bos_token.clone()),
        eos_token: Some(source.eos_token.clone()),
        quantization: Quantization {
            format: options.format.name().to_string(),
            group_size: options.group_size.unwrap_or(options.format.default_group_size()),
            head: options.head.format(options.format).name().to_string(),
            method: describe_methods(&plans, options.format),
            source: source.description.clone(),
            tool: options.tool.clone(),
        },
        tokenizer: Section { offset: 0, length: 0, crc32: 0 },
        tensors: entries,
    };
    let weights = tensors.iter().map(|tensor| tensor.shape()[0] as u64 * tensor.shape()[1] as u64).sum();
    let mut conversion = Conversion {
        ternary: Ternary::default(),
        sorted: Vec::new(),
        all: ErrorSum::default(),
        done: 0,
        total: weights,
        progress,
    };
    let mut writer = Writer::new(out, metadata, &source.tokenizer)?;
    for (tensor, plan) in tensors.iter().zip(&plans) {
        writer.tensor(tensor.name(), |sink| conversion.tensor(tensor, plan, sink))?;
    }
    let error = conversion.all.error();
    let (mut out, metadata) = writer.finish()?;
    let bytes = out.seek(SeekFrom::End(0)).map_err(WriteError::from)?;
    let mut report = Report { tensors: Vec::new(), weights, bytes, error, warnings: Vec::new() };
    for ((tensor, plan), entry) in tensors.iter().zip(&plans).zip(metadata.tensors) {
        report.tensors.push(TensorReport {
            name: entry.name,
            shape: entry.shape,
            source_type: tensor.type_name(),
            encoding: entry.encoding,
            method: plan.method(),
            bytes: entry.section.length,
            error: entry.error,
        });
    }
    report.warnings = warnings::of(source, options, &report);
    if let (Some(fit), Some(importance)) = (importance, &options.importance) {
        let has_entry = |tensor: &SourceTensor<'_>| matches!(importance.of(tensor), Ok(Some(_)));
        let kept = tensors
            .iter()
            .zip(&plans)
            .filter(|(tensor, plan)| matches!(plan, Plan::Kept(..)) && has_entry(tensor));
        report.warnings.extend(fit.warnings(kept.count()));
    }
    Ok(report)
}

fn describe_methods(plans: &[Plan], format: Format) -> String {
    let count = |method| plans.iter().filter(|plan| plan.method() == method).count();
    let rounded = match format {
        Format::Bitnet => "least-squares ternary",
        Format::Binary => "least-squares signs",
        _ => "rtn",
    };
    let counts = [
        (count(Method::Lossless), "lossless"),
        (count(Method::Codes), "with the source's codes"),
        (count(Method::Weighted), "weighted by importance"),
        (count(Method::Rounded), rounded),
    ];
    let used: Vec<_> = counts.into_iter().filter(|(count, _)| *count > 0).collect();
    match used[..] {
        [] => "lossless".to_string(),
        [(_, method)] => method.to_string(),
        _ => used.iter().map(|(count, method)| format!("{count} {method}")).collect::<Vec<_>>().join(", "),
    }
}

/// Buffers and sums of a conversion.
struct Conversion<'p> {
    ternary: Ternary,
    /// Magnitudes and weights of a group, of ternary codes.
    sorted: Vec<(u32, u32)>,
    all: ErrorSum,
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
}

type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> Result<(), WriteError>;

impl Conversion<'_> {
    fn tensor(
        &mut self,
        tensor: &SourceTensor<'_>,
        plan: &Plan,
        sink: Sink<'_>,
    ) -> Result<Option<TensorError>, QuantizeError> {
        let layout = match plan {
            Plan::Kept(layout, _) | Plan::Rounded(layout, ..) => layout,
            Plan::Float => {
                let values = tensor.read_floats()?;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                sink(&bytes)?;
                self.advance(tensor, values.len())?;
                return Ok(None);
            }
        };
        let (rows, cols, groups) = (layout.rows(), layout.cols(), layout.groups());
        let affine = layout.zero() == Zero::Affine;
        let mut row_values = vec![0.0; cols];
        let mut codes = vec![0; STRIP * cols];
        let mut scales = vec![0; STRIP * groups];
        let mut mins = vec![0; if affine { STRIP * groups } else { 0 }];
        let mut packed = vec![0; layout.strip_bytes()];
        let mut sum = ErrorSum::default();
        for first in (0..rows).step_by(STRIP) {
            let count = STRIP.min(rows - first);
            let min_groups = if affine { groups } else { 0 };
            for r in 0..count {
                // Finite, or the row is rejected, as are kept scales that are not.
                tensor.read_row(first + r, &mut row_values)?;
                let codes = &mut codes[r * cols..][..cols];
                let scales = &mut scales[r * groups..][..groups];
                let mins = &mut mins[r * min_groups..][..min_groups];
                match plan {
                    Plan::Rounded(_, target, None) => {
                        self.round_row(layout, target.max_code, &row_values, codes, scales, mins);
                    }
                    Plan::Rounded(_, target, Some(weights)) => {
                        let values = (&row_values[..], &weights[..]);
                        self.round_row_weighted(layout, target.max_code, values, codes, scales, mins);
                    }
                    _ => {
                        let row = first + r;
                        tensor.keep_row(row, layout.zero(), codes, scales, mins).map_err(|value| {
                            let name = tensor.name().to_string();
                            QuantizeError::ScaleRange { name, row, value }
                        })?;
                    }
                }
                let tensor_scale = plan.scale(tensor).unwrap_or(1.0);
                add_errors(&mut sum, layout, tensor_scale, &row_values, codes, scales, mins);
            }
            let (codes, scales) = (&codes[..count * cols], &scales[..count * groups]);
            pack_strip(layout, codes, scales, &mins[..count * min_groups], &mut packed);
            sink(&packed)?;
            self.advance(tensor, count * cols)?;
        }
        self.all.merge(&sum);
        Ok(Some(sum.error()))
    }

    fn round_row(
        &mut self,
        layout: &Layout,
        max_code: u8,
        values: &[f32],
        codes: &mut [u8],
        scales: &mut [u16],
        mins: &mut [u16],
    ) {
        let size = layout.group_size();
        let groups = values.chunks(size).zip(codes.chunks_mut(size)).zip(scales);
        match layout.zero() {
            Zero::Affine => {
                for (((x, codes), scale), min) in groups.zip(mins) {
                    (*scale, *min) = affine(x, max_code, codes);
                }
            }
            Zero::Symmetric(_) if layout.encoding() == Encoding::Binary => {
                for ((x, codes), scale) in groups {
                    *scale = binary(x, codes);
                }
            }
            Zero::Symmetric(1) => {
                for ((x, codes), scale) in groups {
                    *scale = self.ternary.round(x, codes);
                }
            }
            Zero::Symmetric(zero) => {
                for ((x, codes), scale) in groups {
                    *scale = symmetric(x, zero, max_code, codes);
                }
            }
        }
    }

    /// [`Conversion::round_row`] with a weight for each value.
    fn round_row_weighted(
        &mut self,
        layout: &Layout,
        max_code: u8,
        (values, weights): (&[f32], &[f32]),
        codes: &mut [u8],
        scales: &mut [u16],
        mins: &mut [u16],
    ) {
        let size = layout.group_size();
        let groups = values.chunks(size).zip(weights.chunks(size)).zip(codes.chunks_mut(size)).zip(scales);
        match layout.zero() {
            Zero::Affine => {
                for ((((x, w), codes), scale), min) in groups.zip(mins) {
                    (*scale, *min) = weighted::affine(x, w, max_code, codes);
                }
            }
            Zero::Symmetric(_) if layout.encoding() == Encoding::Binary => {
                for (((x, w), codes), scale) in groups {
                    *scale = weighted::binary(x, w, codes);
                }
            }
            Zero::Symmetric(1) => {
                for (((x, w), codes), scale) in groups {
                    *scale = weighted::ternary(x, w, codes, &mut self.sorted);
                }
            }
            Zero::Symmetric(zero) => {
                for (((x, w), codes), scale) in groups {
                    *scale = weighted::symmetric(x, w, zero, max_code, codes);
                }
            }
        }
    }

    fn advance(&mut self, tensor: &SourceTensor<'_>, weights: usize) -> Result<(), QuantizeError> {
        self.done += weights as u64;
        let progress = Progress { tensor: tensor.name(), done: self.done, total: self.total };
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(QuantizeError::Cancelled),
        }
    }
}

/// Compares a row with what the engine will read from the file.
fn add_errors(
    sum: &mut ErrorSum,
    layout: &Layout,
    tensor_scale: f32,
    values: &[f32],
    codes: &[u8],
    scales: &[u16],
    mins: &[u16],
) {
    let size = layout.group_size();
    for (group, ((x, codes), &scale)) in values.chunks(size).zip(codes.chunks(size)).zip(scales).enumerate() {
        let scale = f16_to_f32(scale);
        match layout.zero() {
            Zero::Symmetric(zero) => {
                let zero = f32::from(zero);
                sum.add(x, codes.iter().map(|&code| tensor_scale * (scale * (f32::from(code) - zero))));
            }
            Zero::Affine => {
                let min = f16_to_f32(mins.get(group).copied().unwrap_or(0));
                sum.add(x, codes.iter().map(|&code| tensor_scale * (scale * f32::from(code) + min)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
