//! `edgellm quantize`.

mod budget;
mod curve;
mod plot;

use crate::args::{SCALES, format_parser, head_parser, one_of, order_parser};
use crate::atomic_file::AtomicFile;
use crate::cache::Cache;
use crate::command::info::{LONGEST, LONGEST_NAME, encoding_name};
use crate::command::quality;
use crate::error::{Error, Result};
use crate::output::{self, human_bytes};
use crate::{mmap, model, progress, system};
use edgellm::text::printable;
use edgellm::{Compute, available_kernels};
use edgellm_quantize::{
    Calibration, CalibrationMethod, CalibrationText, CalibrationTextError, Format, HeadFormat, I2sOrder,
    Importance, Measurement, Method, QuantizeError, QuantizeOptions, Report, Scales,
};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Convert a GGUF file or a Hugging Face directory to a .tmac2.bin file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm quantize --input model.gguf --output model.tmac2.bin
  edgellm quantize --input hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 --output qwen3-0.6b.tmac2.bin
  edgellm quantize --input ./SmolLM2-360M --format int8 --head int8 --output smollm2-360m.tmac2.bin
  edgellm quantize --input model-f16.gguf --target-size 60MB --output model.tmac2.bin
  edgellm quantize --input model-f16.gguf --dry-run --plot curve.svg
  edgellm quantize --input model-f16.gguf --format int3 --imatrix imatrix.gguf --output model.tmac2.bin
  edgellm quantize --input ./SmolLM2-360M --validate mine.txt --max-loss 3% --output smollm2-360m.tmac2.bin

auto keeps the codes of a quantized GGUF file, and rounds float weights to int4 and their embedding and LM head to
int8. int8 to int4 are close to the source. int3 and int2 lose much quality on small models; bitnet (ternary) and binary
need weights that were trained for them. An importance matrix makes what is rounded to few bits better; it has no effect on codes
that are kept. A target (--target-size, --target-bits) gives every matrix its own width: what three bits of each alone do to the
model's predictions is measured, and bytes go where they help most. Where something is rounded, the model runs on text before and
after, and the file and the report say what it lost: perplexities, KL divergence, and how often the most likely token stayed the
same. The report lists the method and the quantization error of each tensor, the latter as `edgellm info --tensors` does
later.")]
pub(crate) struct Args {
    /// A .gguf file, a directory with config.json, tokenizer.json and *.safetensors, or hf:OWNER/REPO for a model of the
    /// Hugging Face hub
    #[arg(long, short, value_name = "PATH|hf:OWNER/REPO")]
    input: PathBuf,
    /// Format of the layers' weights [default: auto]
    #[arg(long, short, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<Format>,
    /// File to write; it appears when it is complete
    #[arg(long, short, value_name = "PATH", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    #[command(flatten)]
    budget: budget::BudgetArgs,
    /// Size of the quantization groups of what is rounded: a multiple of 32, or 0 for a whole row [default: 32; int6: 16, binary: 128,
    /// bitnet: 0]
    #[arg(long, value_name = "N")]
    group_size: Option<usize>,
    /// Scales of what is rounded in the layers [default: six for int3 and int2, else halves]
    #[arg(long, value_name = "KIND", value_parser = one_of(SCALES))]
    scales: Option<Scales>,
    /// Format of the embedding and the LM head; auto: int8, or with --format auto as in the source
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = head_parser())]
    head: HeadFormat,
    /// Order of the codes in a GGUF file of type I2_S, which does not say it: x86 for what was written on x86, or before November
    /// 2025; arm for what bitnet.cpp wrote on ARM since
    #[arg(long, value_name = "ORDER", value_parser = order_parser())]
    i2s_order: Option<I2sOrder>,
    /// Importance matrix of the model, as llama.cpp's llama-imatrix writes it (.gguf or .dat): what is rounded spares the columns
    /// that large inputs meet
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// How what is rounded is rounded: gptq runs the model on text and lets each column make up for the errors of others; weights
    /// runs it too, and spares the columns that large inputs meet; none is fast [default: gptq, or with --imatrix none]
    #[arg(long, value_name = "METHOD", value_parser = ["gptq", "weights", "none"])]
    calibration: Option<String>,
    /// Text to calibrate on: plain text, or JSON lines of {"messages": [...]} or {"text": "..."} [default: text of many kinds that
    /// comes with the program]
    #[arg(long, value_name = "FILE")]
    calibration_data: Option<PathBuf>,
    /// Tokens to calibrate on, at most [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(512..))]
    calibration_tokens: Option<u32>,
    /// Text to measure on what rounding costs: plain text, or JSON lines as for --calibration-data, of which at most 16,384 tokens
    /// are used, spread over all of it [default: text of many kinds that comes with the program]
    #[arg(long, value_name = "FILE")]
    validate: Option<PathBuf>,
    /// Fail, and write nothing, if the perplexity rises by more than this: 3% or 0.03
    #[arg(long, value_name = "SHARE", value_parser = quality::parse_share)]
    max_loss: Option<f64>,
    /// Do not measure what rounding costs, which takes as long as reading some 10,000 tokens twice
    #[arg(long, conflicts_with_all = ["validate", "max_loss"])]
    skip_quality: bool,
    /// Threads of calibrating and measuring [default: the number of cores]. The file does not depend on it
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Converts and reports.
    pub(crate) fn run(self, cache: Option<&Cache>) -> Result<()> {
        if let Some(output) = &self.output {
            if same_file(&self.input, output) {
                return Err(Error::Usage("--input and --output are the same file".to_string()));
            }
            let read = [
                ("--imatrix", &self.imatrix),
                ("--calibration-data", &self.calibration_data),
                ("--validate", &self.validate),
            ];
            for (option, given) in read {
                if let Some(path) = given.as_deref().filter(|path| same_file(path, output)) {
                    return Err(Error::Usage(format!(
                        "{option} and --output are the same file, {}",
                        path.display()
                    )));
                }
            }
        }
        // Before a model is downloaded for it.
        let threads = self.threads.map_or_else(system::physical_cores, usize::from);
        let compute = Compute::new(available_kernels()[0], threads);
        let calibration = self.calibration(&compute)?;
        let importance = self.imatrix.as_deref().map(read_importance).transpose()?;
        let measurement = self.measurement(compute)?;
        let (input, name) = model::source_of(&self.input, cache)?;
        let mut options = QuantizeOptions::new(self.format.unwrap_or(Format::Auto));
        options.group_size = self.group_size;
        options.scales = self.scales;
        options.head = self.head;
        options.i2s_order = self.i2s_order;
        options.importance = importance;
        options.calibration = calibration;
        options.quality = measurement;
        options.tool = concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string();
        if self.budget.dry_run {
            return self.dry_run(&input, name.as_deref(), &options);
        }
        let Some(output) = &self.output else {
            return Err(Error::Usage("--output is missing: give a file to write".to_string()));
        };
        if self.budget.is_given() {
            // Measuring takes minutes; what cannot be written is said before.
            drop(AtomicFile::create(output)?);
            let allocation = self.allocation(&input, name.as_deref(), &options);
            options.allocation = Some(allocation.map_err(|error| self.explain(error))?);
        } else {
            self.check_effect(&input, &options)?;
        }
        let report = model::convert_file(&input, output, &options, name.as_deref(), || {})
            .map_err(|error| self.explain(error))?;
        for warning in &report.warnings {
            progress::note(&format!("warning: {warning}"));
        }
        if self.json {
            output::print_json(&object(output, &options, &report))
        } else {
            output::print(&self.table(output, &options, &report))
        }
    }

    /// What to calibrate on, if at all.
    fn calibration(&self, compute: &Compute) -> Result<Option<Calibration>> {
        let method = match (self.calibration.as_deref(), &self.imatrix) {
            (Some("none"), _) | (None, Some(_)) => None,
            (Some(method), Some(_)) => {
                return Err(Error::Usage(format!(
                    "--imatrix says what matters already: leave out --calibration {method}, or --imatrix"
                )));
            }
            (Some("weights"), None) => Some(CalibrationMethod::Weights),
            (_, None) => Some(CalibrationMethod::Gptq),
        };
        let Some(method) = method else {
            let given = [
                ("--calibration-data", self.calibration_data.is_some()),
                ("--calibration-tokens", self.calibration_tokens.is_some()),
            ];
            return match given.into_iter().find(|(_, given)| *given) {
                None => Ok(None),
                Some((option, _)) => Err(Error::Usage(format!(
                    "{option} has no effect without calibration: leave it out, or give --calibration gptq"
                ))),
            };
        };
        let mut calibration = Calibration { method, ..Calibration::new(compute.clone()) };
        if let Some(tokens) = self.calibration_tokens {
            calibration.tokens = tokens as usize;
        }
        if let Some(path) = &self.calibration_data {
            calibration.text = read_text(path, |path, source| Error::Calibration { path, source })?;
        }
        Ok(Some(calibration))
    }

    /// # Errors
    /// If calibration was asked for, and nothing is rounded that it makes better.
    fn check_effect(&self, input: &Path, options: &QuantizeOptions) -> Result<()> {
        let given = [
            ("--calibration-data", self.calibration_data.is_some()),
            ("--calibration-tokens", self.calibration_tokens.is_some()),
            ("--calibration", self.calibration.is_some()),
        ];
        let Some((option, _)) = given.into_iter().find(|(_, given)| *given) else { return Ok(()) };
        if options.calibration.is_none() {
            return Ok(());
        }
        let memory = model::with_source(input, None, |source| {
            let failed = |source| Error::Convert { path: input.to_path_buf(), source };
            edgellm_quantize::calibration_memory(source, options).map_err(failed)
        })?;
        match memory {
            0 => Err(Error::Usage(format!(
                "{option} has no effect: every matrix keeps its codes or gets 8 bits, which calibration does not make better; \
                 leave it out, or give a --format of fewer bits"
            ))),
            _ => Ok(()),
        }
    }

    /// What to measure on, if at all.
    fn measurement(&self, compute: Compute) -> Result<Option<Measurement>> {
        if self.skip_quality {
            return Ok(None);
        }
        let mut measurement = Measurement { max_loss: self.max_loss, ..Measurement::new(compute) };
        if let Some(path) = &self.validate {
            measurement.text = read_text(path, |path, source| Error::Validation { path, source })?;
        }
        Ok(Some(measurement))
    }

    /// An error of the user's own text names that, not the model.
    fn explain(&self, error: Error) -> Error {
        match (error, &self.validate, &self.calibration_data) {
            (Error::Convert { source: QuantizeError::MeasurementText { source }, .. }, Some(path), _) => {
                Error::Validation { path: path.clone(), source }
            }
            (Error::Convert { source: QuantizeError::CalibrationText(source), .. }, _, Some(path)) => {
                Error::Calibration { path: path.clone(), source }
            }
            (error, ..) => error,
        }
    }

    fn table(&self, output: &Path, options: &QuantizeOptions, report: &Report) -> String {
        let mut text = format!(
            "{:48} {:>17} {:>6} {:>9} {:>10}  stored as\n",
            "tensor", "shape", "from", "method", "rel. error"
        );
        for tensor in report.tensors.iter().filter(|tensor| tensor.error.is_some()) {
            let [rows, cols] = tensor.shape;
            let (shape, error) = (format!("{rows} x {cols}"), tensor.error.unwrap_or_default().relative);
            let (source, method) = (tensor.source_type, tensor.method.name());
            let encoding = encoding_name(tensor.encoding);
            let name = printable(&tensor.name, LONGEST_NAME);
            let _ = writeln!(text, "{name:48} {shape:>17} {source:>6} {method:>9} {error:>10.6}  {encoding}");
        }
        let (size, bits) = (human_bytes(report.bytes), report.bits_per_weight());
        let _ = writeln!(
            text,
            "\n{}: {size}, {bits:.2} bits a weight, relative error of all weights {:.6}",
            output.display(),
            report.error.relative
        );
        if let Some(allocation) = &options.allocation {
            let _ = writeln!(text, "widths: {allocation}; {}", curve::expected(allocation));
        }
        let [lossless, codes, plain, weighted, gptq] =
            [Method::Lossless, Method::Codes, Method::Rounded, Method::Weighted, Method::Gptq]
                .map(|method| report.count(method));
        let rounded = plain + weighted + gptq;
        let by_importance = match &self.imatrix {
            None => String::new(),
            Some(_) => format!(", {weighted} of them by importance (weighted) and {plain} without (rtn)"),
        };
        let _ = writeln!(
            text,
            "{lossless} matrices kept without loss, {codes} with the source's codes and its scales in half precision, \
             {rounded} rounded anew{by_importance}"
        );
        for (key, value) in report.quality.iter().flat_map(quality::lines) {
            let _ = writeln!(text, "{key:13} {}", printable(&value, LONGEST));
        }
        text
    }
}

fn object(output: &Path, options: &QuantizeOptions, report: &Report) -> serde_json::Value {
    let tensors: Vec<_> = report
        .tensors
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "shape": tensor.shape,
                "source_type": tensor.source_type,
                "encoding": tensor.encoding,
                "method": tensor.method.name(),
                "bytes": tensor.bytes,
                "error": tensor.error,
            })
        })
        .collect();
    let mut object = json!({
        "path": output,
        "bytes": report.bytes,
        "weights": report.weights,
        "bits_per_weight": report.bits_per_weight(),
        "error": report.error,
        "quality": report.quality,
        "warnings": report.warnings,
        "tensors": tensors,
    });
    if let (Some(allocation), Some(fields)) = (&options.allocation, object.as_object_mut()) {
        fields.insert("allocation".to_string(), curve::point(allocation, report.weights));
    }
    object
}

fn read_importance(path: &Path) -> Result<Importance> {
    let file = mmap::map(path)?;
    let importance = Importance::parse(file.as_ref());
    let importance = importance.map_err(|source| Error::Importance { path: path.to_path_buf(), source })?;
    Ok(importance.named(file_name(path)))
}

fn read_text(
    path: &Path,
    failed: impl FnOnce(PathBuf, CalibrationTextError) -> Error,
) -> Result<CalibrationText> {
    let file = mmap::map(path)?;
    CalibrationText::parse(&file_name(path), file.as_ref())
        .map_err(|source| failed(path.to_path_buf(), source))
}

/// Of the whole path the file would tell others how the user's folders are called.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
