//! EdgeLLM: language model inference from low-bit weights.
//!
//! One `.tmac2.bin` file gives the same bits of output natively, in a browser and as a WASI component. This crate
//! opens no files and reads no clock or environment: bytes in, logits and text out.
//!
//! A [`Model`] is opened from bytes, a [`Session`] holds one sequence of tokens and its KV cache, and
//! [`Session::generate`] yields tokens with their text:
//!
//! ```no_run
//! use edgellm::chat::Message;
//! use edgellm::sampler::{Sampler, SamplerOptions};
//! use edgellm::{Model, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::from_bytes(std::fs::read("smollm2-135m-instruct-int4.tmac2.bin")?)?;
//! let template = model.chat_template()?.ok_or("the model has no chat template")?;
//! let prompt = template.render(&[Message::new("user", "Why is the sky blue?")], true)?;
//! let prompt = prompt.tokenize(model.tokenizer(), false)?;
//!
//! let mut session = Session::new(&model, SessionOptions::default())?;
//! let mut sampler = Sampler::new(SamplerOptions::default())?;
//! for token in session.generate(&prompt, &mut sampler)?.max_tokens(200) {
//!     print!("{}", token?.text);
//! }
//! # Ok(()) }
//! ```
//!
//! Programs that choose tokens themselves call [`Session::prefill`], [`Session::decode`] and [`Session::extend`] for
//! logits; servers extend many sessions in one pass over the weights with [`Batch`], and give each sequence's logits
//! to its [`generate::Decoder`].
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
mod jinja;
pub mod json;
pub mod linear;
mod model;
mod rope;
pub mod sampler;
mod session;
mod state;
mod stream;
pub mod tensors;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod tokenizer;
mod weights;

pub use batch::{Batch, BatchRun};
pub use compute::{Compute, available_kernels};
pub use edgellm_kernels as kernels;
pub use edgellm_kernels::page::CacheFormat;
pub use error::Error;
pub use forward::Precision;
pub use model::Model;
pub use session::{Session, SessionOptions};
pub use stream::ResidualStream;

/// A token of a model's vocabulary.
pub type TokenId = u32;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
