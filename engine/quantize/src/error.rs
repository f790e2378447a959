//! The errors of a conversion.

use crate::CalibrationTextError;
use crate::gguf::GgufError;
use crate::options::Format;
use edgellm::config::ConfigError;
use edgellm::format::{Quality, WriteError};
use edgellm_kernels::layout::LayoutError;

/// Why a model could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The GGUF file is damaged or not supported.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A safetensors file is damaged.
    #[error("{file} is not a valid safetensors file ({problem}): download it again")]
    Safetensors {
        /// File name.
        file: String,
        /// The parser's message.
        problem: String,
    },
    /// A JSON file cannot be read.
    #[error("{file} cannot be read: {problem}")]
    Json {
        /// File name.
        file: String,
        /// The parser's message.
        problem: String,
    },
    /// A file is something else than its name says.
    #[error("{file} is {found}: {advice}")]
    Mistaken {
        /// File name.
        file: String,
        /// What it is.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A file ends too early.
    #[error("{file} ends too early, at byte {length}{}: it is truncated, download it again", of(*expected))]
    Truncated {
        /// File name.
        file: String,
        /// Its length.
        length: u64,
        /// The length that it should have, where that can be told.
        expected: Option<u64>,
    },
    /// A file is missing in the Hugging Face directory.
    #[error("the model directory has no {file}: {advice}")]
    MissingFile {
        /// File name.
        file: String,
        /// What to do.
        advice: &'static str,
    },
    /// The model is not supported.
    #[error("{what} {found:?} is not supported (supported: {supported})")]
    Unsupported {
        /// Property of the model.
        what: &'static str,
        /// Its value.
        found: String,
        /// Supported values.
        supported: &'static str,
    },
    /// A number in the configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A GGUF file does not say how text is split into words.
    #[error(
        "the GGUF file lacks tokenizer.ggml.pre, without which text is split into the wrong words: it was made by an old \
         program, so download a newer file, or convert the original model's Hugging Face directory"
    )]
    NoPreTokenizer,
    /// A tensor is missing.
    #[error("tensor {name} is missing from the model: is the download complete?")]
    MissingTensor {
        /// Hugging Face name.
        name: String,
    },
    /// The model has a tensor that the engine cannot use.
    #[error("tensor {name} belongs to an unsupported kind of model")]
    UnexpectedTensor {
        /// Name in the source.
        name: String,
    },
    /// A tensor's shape contradicts the configuration.
    #[error("tensor {name} has shape {actual:?} where the configuration says {expected:?}")]
    Shape {
        /// Hugging Face name.
        name: String,
        /// By the configuration.
        expected: [usize; 2],
        /// In the source.
        actual: [usize; 2],
    },
    /// A tensor's element type is not supported.
    #[error(
        "tensor {name} has type {found}, but only F32, F16 and BF16 are supported in safetensors files: {advice}"
    )]
    TensorType {
        /// Hugging Face name.
        name: String,
        /// Its type.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A tensor of a quantized checkpoint contradicts the others of its layer, or the configuration.
    #[error("tensor {name} {problem}")]
    Packed {
        /// Name in the source.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The columns of a layer are in the order of their activations.
    #[error(
        "tensor {name} assigns columns to scales in an order of its own (act-order), which is not supported: use a checkpoint \
         that was made with desc_act = false (actorder = null or weight), or a GGUF file of the model"
    )]
    ActOrder {
        /// Name in the source.
        name: String,
    },
    /// A weight is NaN or infinite.
    #[error("tensor {name}, row {row}: a weight is {value}; the source is damaged")]
    NotFinite {
        /// Hugging Face name.
        name: String,
        /// Row.
        row: usize,
        /// The weight.
        value: f32,
    },
    /// A kept scale or minimum does not fit half precision.
    #[error(
        "tensor {name}, row {row}: a scale is {value}, and half precision ends at 65504: the source is damaged, or made for \
         other software"
    )]
    ScaleRange {
        /// Hugging Face name.
        name: String,
        /// Row.
        row: usize,
        /// The scale or minimum.
        value: f32,
    },
    /// A tensor's codes are in one of two orders, and nothing says which.
    #[error(
        "tensor {name} has type I2_S, whose files do not say in which order their codes are, and the wrong one gives fluent \
         nonsense: convert it with `edgellm quantize --i2s-order x86` if it was written on x86 or before November 2025, with \
         `--i2s-order arm` if bitnet.cpp wrote it on ARM since"
    )]
    I2sOrder {
        /// Hugging Face name.
        name: String,
    },
    /// The tokenizer cannot be rebuilt, or the engine cannot run it.
    #[error("the model's tokenizer cannot be used: {problem}; choose another file or another model")]
    Tokenizer {
        /// What is wrong.
        problem: String,
    },
    /// The group size does not fit the layout.
    #[error("{source}: choose --group-size 32, 64, 128 or 0 for one scale per row")]
    GroupSize {
        /// Defect.
        source: LayoutError,
    },
    /// A format has no six-bit scales.
    #[error("{format} has no six-bit scales: choose --scales halves, or --format int4, int3 or int2")]
    SixBitScales {
        /// The layers' format.
        format: Format,
    },
    /// An importance matrix has other columns than the model.
    #[error(
        "tensor {name} has {columns} columns, and the importance matrix has {found} values for {entry}: it is another model's, so \
         give that of this model"
    )]
    ImportanceColumns {
        /// Hugging Face name.
        name: String,
        /// Its columns.
        columns: usize,
        /// Name in the importance matrix.
        entry: String,
        /// The values there.
        found: usize,
    },
    /// An importance matrix has nothing for this model.
    #[error(
        "none of the {entries} entries of the importance matrix ({first} is one) is a matrix of this model: give that of this model"
    )]
    ImportanceNames {
        /// How many entries it has.
        entries: usize,
        /// One of them.
        first: String,
    },
    /// The calibration text is of no use.
    #[error("calibration: {0}")]
    CalibrationText(#[from] CalibrationTextError),
    /// The model cannot be run for calibration.
    #[error("the model cannot be run for calibration: {source}; --calibration none converts it without")]
    Calibration {
        /// The engine's reason.
        #[from]
        source: edgellm::Error,
    },
    /// The file became longer than its budget.
    #[error("the file takes {bytes} bytes, and {limit} were asked for: ask for {} more", bytes - limit)]
    OverBudget {
        /// Its length.
        bytes: u64,
        /// The budget.
        limit: u64,
    },
    /// The text to measure on is of no use.
    #[error("the text to measure on cannot be used: {source}")]
    MeasurementText {
        /// What is wrong with it.
        source: CalibrationTextError,
    },
    /// The model cannot be run to measure what rounding costs.
    #[error("the model cannot be run to measure what it lost: {source}; --skip-quality converts it without")]
    Measurement {
        /// The engine's reason.
        source: edgellm::Error,
    },
    /// The perplexity rose by more than the limit.
    #[error(
        "the perplexity rose by {:.2} %, from {} to {}, and --max-loss allows {} %, so nothing was written: choose a format of more bits, \
         such as int4 or int8, smaller groups, or a higher limit",
        100.0 * quality.loss(), quality.source_perplexity, quality.perplexity, 100.0 * limit
    )]
    Loss {
        /// What was measured.
        quality: Box<Quality>,
        /// The limit, as a share.
        limit: f64,
    },
    /// Writing the output failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The progress callback asked to stop.
    #[error("stopped before the model was complete")]
    Cancelled,
}

impl QuantizeError {
    pub(crate) fn json(file: &str, problem: impl ToString) -> Self {
        QuantizeError::Json { file: file.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn packed(name: impl Into<String>, problem: impl Into<String>) -> Self {
        QuantizeError::Packed { name: name.into(), problem: problem.into() }
    }
}

fn of(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |expected| format!(" of {expected}"))
}
