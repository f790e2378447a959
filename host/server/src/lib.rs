//! An OpenAI-compatible server over EdgeLLM.
//!
//! [`app`] is the whole HTTP interface as a service, which tests call without a socket. [`listen()`] serves it on a
//! socket, with time limits, and drains it at shutdown. One thread per model decodes all of its sequences together.
#![forbid(unsafe_code)]

mod access;
mod answer;
mod api;
mod app;
mod body;
mod clock;
mod error;
mod grammar;
mod listen;
mod logs;
mod metrics;
mod middleware;
mod openapi;
mod options;
mod page;
mod random;
mod registry;
mod request_id;
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
pub use options::{Limits, Options};
pub use registry::{ModelSource, OpenError, OpenModel};
pub use runner::{Run, Runner, RunnerError, RunnerSession};
pub use server::{Server, ServerError};
