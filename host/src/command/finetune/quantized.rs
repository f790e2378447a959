//! The tuned model in few bits: converted with the training data as calibration, and measured by the engine that will run it.

use super::Args;
use crate::args::RunArgs;
use crate::cache::Cache;
use crate::compute::compute;
use crate::error::{Error, Result};
use crate::{mmap, model, progress, questions, system};
use edgellm::{Compute, available_kernels};
use edgellm_benchmark::quality::answers::AnswerScores;
use edgellm_quantize::{Calibration, CalibrationText, Measurement, QuantizeError, QuantizeOptions};
use serde::Serialize;
use std::path::Path;

/// Scores of the model file.
#[derive(Serialize)]
pub(super) struct Scores {
    bytes: u64,
    bits_per_weight: Option<f64>,
    #[serde(flatten)]
    answers: Option<AnswerScores>,
}

/// Converts the directory `merged` to `output`. Rows too few to calibrate on are replaced by the built-in text.
///
/// # Errors
/// If it cannot be converted.
pub(super) fn convert(args: &Args, merged: &Path, rows: &Path, output: &Path) -> Result<()> {
    let threads = args.threads.map_or_else(system::physical_cores, usize::from);
    let compute = Compute::new(available_kernels()[0], threads);
    let file = mmap::map(rows)?;
    let text = CalibrationText::parse("training data", file.as_ref());
    let text = text.map_err(|source| Error::Calibration { path: rows.to_path_buf(), source })?;
    let mut options = QuantizeOptions::new(args.format);
    options.head = args.head;
    options.tool = concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string();
    options.quality = Some(Measurement::new(compute.clone()));
    options.calibration = Some(Calibration { text, ..Calibration::new(compute.clone()) });
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(crate::cache::MODEL_SUFFIX).to_string();
    let report = match model::convert_file(merged, output, &options, Some(&name), || {}) {
        Err(Error::Convert { source: QuantizeError::CalibrationText(error), .. }) => {
            progress::note(&format!(
                "the training data is not enough to calibrate on ({error}): the built-in text is used"
            ));
            options.calibration = Some(Calibration::new(compute));
            model::convert_file(merged, output, &options, Some(&name), || {})?
        }
        converted => converted?,
    };
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
    Ok(Scores { bytes, bits_per_weight: None, answers })
}
