//! An OpenAI-compatible server over EdgeLLM.
//!
//! [`app`] is the whole interface as a service, which tests call without a socket; [`listen()`] puts it on one, with
//! time limits and an orderly end. One thread per model decodes all of its sequences together.
#![forbid(unsafe_code)]

mod access;
mod answer;
mod api;
mod app;
mod body;
mod error;
mod grammar;
mod listen;
mod logs;
mod metrics;
mod openapi;
mod options;
mod page;
mod registry;
mod routes;
mod runner;
mod scheduler;
mod server;
mod timed;
mod tools;

pub use access::ApiKeys;
pub use app::app;
pub use error::ApiError;
pub use listen::{ListenError, bind, listen};
pub use logs::{LogFormat, init_logs};
pub use options::Options;
pub use registry::{ModelSource, OpenModel};
pub use runner::{Run, Runner, RunnerError, RunnerSession};
pub use server::{Server, ServerError};

/// A number that nobody can guess.
fn random() -> u64 {
    // Without chance there are still no two alike in one process.
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    getrandom::u64().unwrap_or_else(|_| NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
