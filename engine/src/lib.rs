//! EdgeLLM: language model inference from low-bit weights.
#![forbid(unsafe_code)]

pub mod config;
pub mod format;

pub use edgellm_kernels as kernels;

/// A token of a model's vocabulary.
pub type TokenId = u32;
