//! The engine as a program for the stock `wasmtime`: world `wasi:cli/command`.
//!
//! ```text
//! wasmtime run --dir models edgellm-command-relaxed.wasm generate \
//!     --model models/smollm2-135m-instruct-int4.tmac2.bin --prompt "Why is the sky blue?"
//! ```
#![deny(unsafe_code)]
// Other targets export nothing and only check the crate.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]

mod cli;
mod generate;

use clap::Parser as _;
use std::io::Write as _;
use wasip2::cli::environment::get_arguments;
use wasip2::cli::{stderr, stdout};

struct Program;

impl wasip2::exports::cli::run::Guest for Program {
    fn run() -> Result<(), ()> {
        edgellm_component::report_panics();
        let mut out = stdout::get_stdout();
        let cli = match cli::Cli::try_parse_from(get_arguments()) {
            Ok(cli) => cli,
            // Requested help goes to stdout; a closed pipe is not an error worth reporting.
            Err(help) if !help.use_stderr() => return write!(out, "{help}").map_err(drop),
            Err(error) => return write!(stderr::get_stderr(), "{error}").map_err(drop).and(Err(())),
        };
        let result = match cli.command {
            cli::Command::Generate(args) => generate::generate(&args, &mut out),
            cli::Command::Info(args) => generate::info(&args, &mut out),
        };
        result.and_then(|()| Ok(std::io::Write::flush(&mut out)?)).map_err(|error| {
            // If stderr is closed, the exit status still reports the failure.
            let _ = writeln!(stderr::get_stderr(), "error: {error}");
        })
    }
}

/// The export that makes it a program.
#[allow(unsafe_code, missing_docs, clippy::undocumented_unsafe_blocks)]
#[cfg(target_arch = "wasm32")]
mod export {
    use super::Program;
    wasip2::cli::command::export!(Program);
}
