//! EdgeLLM: language model inference from low-bit weights.
//!
//! One `.tmac2.bin` file gives the same bits of output natively, in a browser and as a WASI component. This
//! crate opens no files, reads no clock and no environment: bytes in, logits and text out.
#![forbid(unsafe_code)]

mod batch;
mod cache;
pub mod chat;
mod compute;
pub mod config;
mod error;
pub mod format;
mod forward;
pub mod generate;
mod model;
mod rope;
pub mod sampler;
mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tokenizer;

pub use batch::{Batch, BatchRun};
pub use compute::{Compute, available_kernels};
pub use edgellm_kernels as kernels;
pub use edgellm_kernels::page::CacheFormat;
pub use error::Error;
pub use forward::Precision;
pub use model::Model;
pub use session::{Session, SessionOptions};

/// A token of a model's vocabulary.
pub type TokenId = u32;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
