//! EdgeLLM's component in wasmtime: language models inside your program, in a sandbox.
//!
//! The component is the same engine as the `edgellm` crate and gives the same bits of output. What it may use is what
//! [`Limits`] says: memory, time, one folder to read or none, and so many bytes of output. It has no network, no
//! environment and no clock to wait on. docs/embedding.md is the guide, docs/security.md says what the limits stop.
//!
//! ```no_run
//! use edgellm_plugin_host::{GenerateOptions, Limits, Plugin, Prompt, SessionOptions, Source};
//!
//! # fn main() -> Result<(), edgellm_plugin_host::Error> {
//! let plugin = Plugin::load("edgellm-engine-relaxed.wasm", None)?;
//! let limits = Limits { folder: Some("models".into()), ..Limits::default() };
//! let model = plugin.open(Source::File("smollm2-135m-instruct-int4.tmac2.bin"), &limits)?;
//! let mut session = model.session(SessionOptions::default())?;
//! for token in session.generate(&Prompt::Text("Once upon a time".into()), &GenerateOptions::default())? {
//!     print!("{}", token?.text);
//! }
//! # Ok(()) }
//! ```
#![deny(unsafe_code)]

mod bindings;
mod compile;
mod error;
mod limits;
mod model;
mod plugin;
mod sandbox;
mod session;
mod ticker;
mod wasi;

pub use bindings::exports::edgellm::inference::inference::{
    ErrorCode, FinishReason, GenerateOptions, KvCache, Message, ModelInfo, Precision, Prompt, SamplerOptions,
    SessionOptions, Timings, Token, TokenId,
};
pub use error::Error;
pub use limits::Limits;
pub use model::{Batch, BatchRun, Model};
pub use plugin::{Plugin, Source};
pub use sandbox::Cancel;
pub use session::{Generation, Session};
