//! The errors of an export.

use super::Dtype;
use crate::QuantizeError;
use edgellm::format::FormatError;
use std::io;

/// Why a model could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No family of transformers that is known here.
    #[error(
        "models of the family {family:?} cannot be exported (those of {exported} can): use the model's own Hugging Face checkpoint"
    )]
    Family {
        /// The model's family.
        family: String,
        /// The families that can be exported.
        exported: String,
    },
    /// The family has no such setting in transformers.
    #[error(
        "the model's {field} is {value}, which {family} models of transformers cannot have, so it cannot be exported: use the model's \
         own Hugging Face checkpoint"
    )]
    Feature {
        /// The family.
        family: String,
        /// Name in the configuration.
        field: String,
        /// Its value.
        value: String,
    },
    /// A weight is beyond the type's largest number.
    #[error(
        "tensor {name}, row {row}: the weight {value} does not fit {}, which ends at {}: export with {}",
        dtype.torch_name(), dtype.largest(), wider(*dtype)
    )]
    Overflow {
        /// Hugging Face name.
        name: String,
        /// Row.
        row: usize,
        /// The weight.
        value: f32,
        /// The type.
        dtype: Dtype,
    },
    /// A weight of a model file is NaN or infinite.
    #[error("tensor {name}, row {row}: a weight is {value}; the file is damaged")]
    NotFinite {
        /// Hugging Face name.
        name: String,
        /// Row.
        row: usize,
        /// The weight.
        value: f32,
    },
    /// The tokenizer cannot be used.
    #[error("the model's tokenizer cannot be used: {problem}; choose another file or another model")]
    Tokenizer {
        /// What is wrong.
        problem: String,
    },
    /// The source cannot be used.
    #[error(transparent)]
    Source(#[from] QuantizeError),
    /// The model file cannot be used.
    #[error(transparent)]
    ModelFile(#[from] FormatError),
    /// The output refused the bytes.
    #[error("cannot write the weights: {0}")]
    Write(#[from] io::Error),
    /// The progress callback asked to stop.
    #[error("stopped before the weights were complete")]
    Cancelled,
}

fn wider(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "--dtype f32, or --dtype bf16, which is coarser",
        Dtype::Bf16 | Dtype::F32 => "--dtype f32",
    }
}
