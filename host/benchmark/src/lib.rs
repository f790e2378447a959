//! Measures EdgeLLM's targets and its peers side by side, in interleaved runs, on checked answers.
//!
//! Each engine runs in a [`worker`] process of its own that speaks [`protocol`]; [`run`] alternates between them;
//! [`report`] writes the results as JSON, CSV, Markdown and HTML; [`compare`] finds regressions between two reports.
#![forbid(unsafe_code)]

pub mod browser;
mod cell;
pub mod compare;
pub mod date;
pub mod hash;
pub mod machine;
pub mod native;
pub mod observer;
pub mod peer;
pub mod plan;
pub mod process;
pub mod prompts;
pub mod protocol;
pub mod quality;
pub mod report;
pub mod run;
pub mod sensors;
pub mod significance;
pub mod statistics;
pub mod worker;
