//! `edgellm benchmark`.

mod compare;
mod measure;
#[cfg(feature = "plugin")]
mod plugin;
mod targets;
mod worker;

pub(crate) use worker::Args as WorkerArgs;

use crate::cache::Cache;
use crate::error::Result;

/// Measure this machine: EdgeLLM's targets and other engines in turn, answers checked, as a report
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  edgellm benchmark --model smollm2-135m-instruct
  edgellm benchmark --model smollm2-135m-instruct --targets native --peers llama.cpp --threads 1,2 --minutes 10
  edgellm benchmark compare before/report.json after/report.json

Every engine runs in a process of its own; runs take turns (A B C A B C) after warming up. All of EdgeLLM's
targets must generate the same tokens from the same logits before a time counts. The report's folder gets
report.json, report.csv, report.md and report.html; Ctrl-C keeps what was measured. docs/benchmark-report.md
describes them.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: measure::MeasureArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Compare(compare::Args),
}

impl Args {
    /// Measures, or compares.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        match self.command {
            Some(Command::Compare(args)) => args.run(),
            None => self.measure.run(cache),
        }
    }
}
