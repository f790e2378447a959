//! Converts published checkpoints to `.tmac2.bin`: GGUF files and Hugging Face directories in, low-bit weights out.
//!
//! Everything works on bytes: this crate opens no files, starts no threads and reads no clock, so the same code runs in a
//! program and in a web page, and writes the same file in both.
//!
//! ```no_run
//! use edgellm_quantize::{Format, QuantizeOptions, Source, quantize};
//! use std::ops::ControlFlow;
//!
//! let gguf = std::fs::read("model.gguf")?;
//! let source = Source::from_gguf(&gguf)?;
//! let out = std::fs::File::create("model.tmac2.bin")?;
//! let options = QuantizeOptions::new(Format::Auto);
//! let report = quantize(&source, &options, out, &mut |progress| {
//!     println!("{} of {} weights: {}", progress.done, progress.total, progress.tensor);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} bytes", report.bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Source`]: a published model; [`Source::from_gguf`], [`Source::from_files`].
//! - [`quantize`]: the conversion, 32 rows at a time.
//! - [`Calibration`]: rounding by what the layers of the model see; [`CalibrationText`].
//! - [`sensitivity`]: what each matrix loses at each width, and [`Sensitivity::fit`], which spends a budget of bytes by it.
//! - [`Measurement`]: what rounding costs, measured on text.
//! - [`Importance`]: which columns matter, measured by llama.cpp.
//! - [`tokenizer_of_gguf`], [`tokenizer_of_files`]: the tokenizer alone.
//! - [`export`]: the way back, to a Hugging Face directory.
//! - [`mistaken_model`]: what a file is that is no model.
//! - [`gguf`], [`dequantize`]: the parts, usable on their own.
#![forbid(unsafe_code)]

mod budget;
mod calibrate;
mod codes;
mod convert;
pub mod dequantize;
mod encode;
mod error;
pub mod export;
mod faithful;
mod family;
pub mod gguf;
mod importance;
mod measure;
mod mistaken;
mod options;
mod parts;
mod plan;
mod report;
mod round;
mod sha256;
mod source;
#[cfg(test)]
mod testing;
mod tokenizer;
mod warnings;

pub use budget::{
    Allocation, BudgetError, Probe, Sensitivity, SizeRange, Width, file_bytes, sensitivity,
    sensitivity_memory,
};
pub use calibrate::{
    Calibration, CalibrationMethod, CalibrationText, CalibrationTextError, calibration_memory,
};
pub use convert::quantize;
pub use edgellm_kernels::layout::Scales;
pub use error::QuantizeError;
pub use importance::{Importance, ImportanceError};
pub use measure::{Measurement, measurement_memory};
pub use mistaken::{Mistaken, mistaken, mistaken_model};
pub use options::{
    Format, HeadFormat, I2sOrder, QuantizeOptions, RULES_VERSION, UnknownFormat, UnknownOrder,
};
pub use parts::Parts;
pub use report::{Method, Progress, Report, TensorReport};
pub use source::{Source, SourceTensor, tokenizer_of_files};
pub use tokenizer::tokenizer_of_gguf;
