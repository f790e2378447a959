//! What the components share: model files from WASI's folders, clock and chance, prompts and the token loop.
//!
//! `engine`, `command` and `http` beside this crate are its thin entries, one for each world (docs/wit.md).
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
