//! The conversion: plans, calibration, and the file.

use crate::encode::{Encoder, Work};
use crate::faithful::{Faithful, weights};
use crate::options::{Format, QuantizeOptions};
use crate::plan::{Plan, in_order};
use crate::report::{Method, Progress, Report, TensorReport};
use crate::source::{Source, SourceTensor};
use crate::{QuantizeError, budget, calibrate, measure, warnings};
use edgellm::format::{
    Metadata, Quality, Quantization, Recipe, Section, TensorEntry, TensorError, WriteError, Writer,
};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

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
    let (tensors, mut plans) = plans(source, options)?;
    let importance = options.importance.as_ref().map(|importance| importance.fit(&tensors)).transpose()?;
    let weights = weights(&tensors);
    let mut work = Work { done: 0, total: weights, progress };
    let mut faithful = Faithful::new(source, &tensors);
    let measurement = options.quality.as_ref().filter(|_| plans.iter().any(Plan::is_rounded));
    if measurement.is_some() {
        measure::announce(&mut faithful, &mut work);
    }
    let mut tokens = 0;
    if let Some(calibration) = &options.calibration {
        tokens = calibrate::run(&mut faithful, &mut plans, calibration, &mut work)?;
    }
    let recipe = recipe(options, &plans, tokens);
    let measured = measurement
        .map(|measurement| measure::run(&mut faithful, &mut plans, measurement, recipe, &mut work));
    let quality = measured.transpose()?;
    drop(faithful);
    let (metadata, bytes, error) = write(source, options, &tensors, &plans, quality.clone(), out, &mut work)?;
    if let Some(limit) =
        options.allocation.as_ref().map(|allocation| allocation.limit).filter(|&limit| bytes > limit)
    {
        return Err(QuantizeError::OverBudget { bytes, limit });
    }
    let mut report = Report { tensors: Vec::new(), weights, bytes, error, quality, warnings: Vec::new() };
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

/// How each tensor is to be stored, before any weight is read.
///
/// # Errors
/// If the options are invalid.
pub(crate) fn plans<'a>(
    source: &Source<'a>,
    options: &QuantizeOptions,
) -> Result<(Vec<SourceTensor<'a>>, Vec<Plan>), QuantizeError> {
    let tensors: Vec<SourceTensor<'a>> =
        source.tensors().iter().map(|tensor| in_order(tensor, options)).collect::<Result<_, _>>()?;
    if let Some(importance) = &options.importance {
        importance.fit(&tensors)?;
    }
    let plans = tensors.iter().map(|tensor| Plan::new(tensor, options)).collect::<Result<_, _>>()?;
    Ok((tensors, plans))
}

/// Writes the file of some plans. Returns its metadata, its length, and the error of all weights.
///
/// # Errors
/// [`QuantizeError`] if a weight is not finite, writing fails, or the work is cancelled.
pub(crate) fn write<W: Write + Seek>(
    source: &Source<'_>,
    options: &QuantizeOptions,
    tensors: &[SourceTensor<'_>],
    plans: &[Plan],
    quality: Option<Quality>,
    out: W,
    work: &mut Work<'_>,
) -> Result<(Metadata, u64, TensorError), QuantizeError> {
    let mut metadata = metadata(source, options, tensors, plans);
    metadata.quantization.quality = quality;
    let (mut encoder, mut writer) = (Encoder::default(), Writer::new(out, metadata, &source.tokenizer)?);
    for (tensor, plan) in tensors.iter().zip(plans) {
        writer.tensor(tensor.name(), |sink| encoder.tensor(tensor, plan, work, sink))?;
    }
    let (mut out, metadata) = writer.finish()?;
    let bytes = out.seek(SeekFrom::End(0)).map_err(WriteError::from)?;
    Ok((metadata, bytes, encoder.error()))
}

/// What a file of some plans says of itself, as far as it is known beforehand.
pub(crate) fn metadata(
    source: &Source<'_>,
    options: &QuantizeOptions,
    tensors: &[SourceTensor<'_>],
    plans: &[Plan],
) -> Metadata {
    let entries = tensors.iter().zip(plans).map(|(tensor, plan)| {
        let entry = Writer::<Cursor<Vec<u8>>>::entry(tensor.name(), tensor.shape(), plan.encoding());
        TensorEntry { scale: plan.scale(tensor), rotated: tensor.rotated(), ..entry }
    });
    let (format, head) = budget::names(options, tensors);
    Metadata {
        name: source.name.clone(),
        config: source.config.clone(),
        chat_template: source.chat_template.clone(),
        bos_token: Some(source.bos_token.clone()),
        eos_token: Some(source.eos_token.clone()),
        quantization: Quantization {
            format: format.to_string(),
            group_size: options.group_size.unwrap_or(options.format.default_group_size()),
            head: head.to_string(),
            method: describe_methods(plans, options),
            source: source.description.clone(),
            tool: options.tool.clone(),
            quality: None,
        },
        tokenizer: Section { offset: 0, length: 0, crc32: 0 },
        tensors: entries.collect(),
    }
}

/// What the plans were made by: options that had no effect are left out.
fn recipe(options: &QuantizeOptions, plans: &[Plan], tokens: usize) -> Recipe {
    let any = |method| plans.iter().any(|plan| plan.method() == method);
    match (&options.calibration, &options.importance) {
        (Some(calibration), _) if tokens > 0 => Recipe {
            method: calibration.method.name().to_string(),
            data: Some(calibration.text.name().to_string()),
            sha256: Some(calibration.text.sha256().to_string()),
            tokens: Some(tokens as u64),
        },
        (_, Some(importance)) if any(Method::Weighted) => Recipe {
            method: "imatrix".to_string(),
            data: importance.name().map(str::to_string),
            sha256: Some(importance.sha256().to_string()),
            tokens: None,
        },
        _ => Recipe { method: "none".to_string(), ..Recipe::default() },
    }
}

fn describe_methods(plans: &[Plan], options: &QuantizeOptions) -> String {
    let count = |method| plans.iter().filter(|plan| plan.method() == method).count();
    let rounded = match options.format {
        Format::Bitnet => "least-squares ternary",
        Format::Binary => "least-squares signs",
        _ => "rtn",
    };
    let counts = [
        (count(Method::Lossless), "lossless"),
        (count(Method::Codes), "with the source's codes"),
        (count(Method::Gptq), "gptq"),
        (count(Method::Weighted), "weighted by importance"),
        (count(Method::Rounded), rounded),
    ];
    let used: Vec<_> = counts.into_iter().filter(|(count, _)| *count > 0).collect();
    let methods = match used[..] {
        [] => "lossless".to_string(),
        [(_, method)] => method.to_string(),
        _ => used.iter().map(|(count, method)| format!("{count} {method}")).collect::<Vec<_>>().join(", "),
    };
    match &options.allocation {
        None => methods,
        Some(allocation) => format!("{methods}; widths by measured sensitivity: {allocation}"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
