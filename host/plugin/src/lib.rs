//! The plugin: EdgeLLM's component in a wasmtime sandbox, for language models inside your program.
//!
//! The component is the same engine as the `edgellm` crate and generates bitwise the same output. [`Limits`] bound its
//! memory, time and output, and name the one directory that it may read, if any. It has no network, no environment and
//! no clock to wait on. docs/embedding.md is the guide; docs/security.md says what the limits protect against.
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
mod cancel;
mod compile;
mod compiled;
mod error;
mod imports;
mod limits;
mod model;
mod plugin;
mod sandbox;
mod session;
mod shared;
mod state;
mod system;
mod ticker;

pub use bindings::exports::edgellm::inference::inference::{
    ErrorCode, FinishReason, GenerateOptions, KvCache, Message, ModelInfo, Precision, Prompt, SamplerOptions,
    SessionOptions, Timings, Token, TokenId,
};
pub use cancel::Cancel;
pub use error::Error;
pub use limits::Limits;
pub use model::{Batch, BatchRun, Model};
pub use plugin::{Plugin, Source};
pub use session::{Generation, Session};
