//! From published checkpoints to `.tmac2.bin`: GGUF files and Hugging Face folders in, low-bit weights out.
//!
//! Everything works on bytes: no file is opened here, no thread started, no clock read, so the same code
//! runs in a program and in a web page, and makes the same file in both.
//!
//! ```no_run
//! use edgellm_quantize::{Format, QuantizeOptions, Source, quantize};
//! use std::ops::ControlFlow;
//!
//! let gguf = std::fs::read("model.gguf")?;
//! let source = Source::from_gguf(&gguf)?;
//! let out = std::fs::File::create("model.tmac2.bin")?;
//! let options = QuantizeOptions::new(Format::Int4);
//! let report = quantize(&source, &options, out, &mut |progress| {
//!     println!("{} of {} weights: {}", progress.done, progress.total, progress.tensor);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} bytes", report.bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Source`]: a model as it was published; [`Source::from_gguf`], [`Source::from_files`].
//! - [`quantize`]: the conversion, 32 rows at a time.
//! - [`gguf`], [`dequantize`]: the parts, for those who want only them.
#![forbid(unsafe_code)]

mod convert;
pub mod dequantize;
mod error;
pub mod gguf;
mod lossless;
mod options;
mod report;
mod round;
mod source;
#[cfg(test)]
mod testing;
mod tokenizer;
mod warnings;

pub use convert::quantize;
pub use error::QuantizeError;
pub use options::{Format, HeadFormat, QuantizeOptions, UnknownFormat};
pub use report::{Method, Progress, Report, TensorReport};
pub use source::{Source, SourceTensor};
