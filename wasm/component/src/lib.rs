//! Shared by the components: model files from WASI's folders, clock and random numbers, prompts and the decode loop.
//!
//! The crates `engine`, `command` and `http` beside it implement one world each on top of it (docs/wit.md).
#![deny(unsafe_code)]

mod error;
mod generation;
mod prompt;
mod source;
mod system;

pub use error::Error;
pub use generation::{GenerateOptions, Generation, Timings};
pub use prompt::{chat_prompt, chat_text, tokens};
pub use source::{ModelBytes, find_models, model_name, open_file};
pub use system::{now_ns, report_panics, seconds_since_1970};
