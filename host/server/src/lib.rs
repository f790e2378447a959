//! An OpenAI-compatible server over EdgeLLM.
//!
//! [`app`] is the whole HTTP interface as a service, which tests call without a socket. [`listen()`] serves it on a
//! socket, with time limits, and drains it at shutdown. One thread per model decodes all of its sequences together.
//!
//! ```no_run
//! use edgellm::{Model, SessionOptions};
//! use edgellm_server::{ApiKeys, ModelSource, Options, Server, bind, listen};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let source = ModelSource {
//!     id: "my-model".into(),
//!     created: 0,
//!     session: SessionOptions::default(),
//!     file: None,
//!     open: Box::new(|| Ok(Model::from_bytes(std::fs::read("model.tmac2.bin")?)?.into())),
//! };
//! let server = Server::new(vec![source], Options::default(), ApiKeys::default())?;
//! server.load().await.map_err(|_| "the model cannot be loaded; the log has the reason")?;
//! listen(server, bind("127.0.0.1", 8080).await?, std::future::pending()).await;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod access;
mod answer;
mod api;
mod app;
mod body;
mod caller;
mod clock;
mod connections;
mod error;
mod grammar;
mod host;
mod listen;
mod logs;
mod memory;
mod metrics;
mod middleware;
mod openapi;
mod options;
mod paced;
mod page;
mod preparation;
mod random;
mod registry;
mod request_id;
mod routes;
mod runner;
mod scheduler;
mod server;
mod tools;
mod unreadable;

pub use access::ApiKeys;
pub use app::app;
pub use connections::SPARE_CONNECTIONS;
pub use error::ApiError;
pub use listen::{ListenError, bind, listen};
pub use logs::{LogFormat, Logs, init_logs};
pub use options::{Limits, Options};
pub use registry::{ModelSource, OpenError, OpenModel};
pub use runner::{Run, Runner, RunnerError, RunnerSession};
pub use server::{Server, ServerError};
