//! `edgellm`: the command line of EdgeLLM.
#![forbid(unsafe_code)]

mod args;
mod atomic_file;
mod atomic_folder;
mod cache;
mod catalogue;
mod checksum;
mod cli;
mod command;
mod compute;
mod error;
mod fetch;
mod interrupt;
mod mmap;
mod model;
mod output;
#[cfg(feature = "plugin")]
mod plugin;
mod progress;
mod prompt;
mod questions;
mod reference;
mod speed;
mod system;
mod terminal;

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return output::usage(&message),
    };
    interrupt::install();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.one_line());
            if matches!(error, error::Error::Interrupted) {
                return ExitCode::from(interrupt::INTERRUPTED);
            }
            ExitCode::FAILURE
        }
    }
}
