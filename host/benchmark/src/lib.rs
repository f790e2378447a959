//! Measures EdgeLLM's targets and its peers side by side, in turn, on checked answers.
//!
//! Each engine runs in a [`worker`] process of its own that speaks [`protocol`]; [`run`] takes turns between them;
//! [`report`] says what came of it as JSON, CSV, Markdown and HTML; [`compare`] finds what got worse between two
//! reports.
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
