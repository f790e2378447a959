//! The tuned model in few bits: converted with the training data as calibration, and measured by the engine that will run it.

use super::Args;
use crate::args::RunArgs;
use crate::cache::{Cache, MODEL_SUFFIX};
use crate::compute::compute;
use crate::error::{Error, Result};
use crate::{mmap, model, progress, questions, system};
use edgellm::{Compute, available_kernels};
use edgellm_benchmark::quality::answers::AnswerScores;
use edgellm_quantize::{Calibration, CalibrationText, Format, Measurement, QuantizeError, QuantizeOptions};
use serde::Serialize;
use std::path::Path;

/// Scores of the model file.
#[derive(Serialize)]
pub(super) struct Scores {
    bytes: u64,
    #[serde(flatten)]
    answers: Option<AnswerScores>,
}

/// Rounds the weights of the directory `merged` to few bits, calibrated on `rows`, or on the built-in text if these are too few.
///
/// # Errors
/// If it cannot be converted.
pub(super) fn round(args: &Args, merged: &Path, rows: &Path, output: &Path) -> Result<()> {
    let file = mmap::map(rows)?;
    let text = CalibrationText::parse("training data", file.as_ref());
    let text = text.map_err(|source| Error::Calibration { path: rows.to_path_buf(), source })?;
    let mut options = options(args, args.format);
    let compute = compute_of(args);
    options.quality = Some(Measurement::new(compute.clone()));
    options.calibration = Some(Calibration { text, ..Calibration::new(compute.clone()) });
    match convert(merged, output, &options) {
        Err(Error::Convert { source: QuantizeError::CalibrationText(error), .. }) => {
            progress::note(&format!(
                "the training data is not enough to calibrate on ({error}): the built-in text is used"
            ));
            options.calibration = Some(Calibration::new(compute));
            convert(merged, output, &options)
        }
        converted => converted,
    }
}

/// Converts the directory `trained`, whose weights were trained in few bits, and are kept.
///
/// # Errors
/// If it cannot be converted.
pub(super) fn keep(args: &Args, trained: &Path, output: &Path) -> Result<()> {
    convert(trained, output, &options(args, Format::Auto))
}

fn options(args: &Args, format: Format) -> QuantizeOptions {
    let mut options = QuantizeOptions::new(format);
    options.head = args.head;
    options.tool = concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string();
    options
}

fn compute_of(args: &Args) -> Compute {
    let threads = args.threads.map_or_else(system::physical_cores, usize::from);
    Compute::new(available_kernels()[0], threads)
}

fn convert(input: &Path, output: &Path, options: &QuantizeOptions) -> Result<()> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(MODEL_SUFFIX).to_string();
    let report = model::convert_file(input, output, options, Some(&name), || {})?;
    for warning in &report.warnings {
        progress::note(&format!("warning: {warning}"));
    }
    Ok(())
}

/// Scores of the model file's answers to the rows.
///
/// # Errors
/// If it cannot be opened, or a row not be rendered.
pub(super) fn measure(args: &Args, path: &Path, rows: &Path, cache: &Cache) -> Result<Scores> {
    let run = RunArgs { threads: args.threads, ..RunArgs::with_kernel(None) };
    let model = model::open(path, compute(&run)?, run.weights, cache)?;
    let bytes = std::fs::metadata(path).map_err(Error::file("read", path))?.len();
    // Rows of plain text have no answers.
    let answers = match questions::read(rows, None) {
        Ok(found) => questions::ask(&model, &found, args.max_tokens, run.session_options(None))?,
        Err(_) => None,
    };
    Ok(Scores { bytes, answers })
}
