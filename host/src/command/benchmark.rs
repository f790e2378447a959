//! `edgellm benchmark`.

mod compare;
mod measure;
#[cfg(feature = "plugin")]
mod plugin;
mod targets;
mod tree;
mod worker;

pub(crate) use worker::Args as WorkerArgs;

use crate::cache::Cache;
use crate::error::Result;

/// Benchmark EdgeLLM's targets and other engines side by side, with checked answers
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  edgellm benchmark --model smollm2-135m-instruct
  edgellm benchmark --model smollm2-135m-instruct --targets native --peers llama.cpp --threads 1,2 --minutes 10
  edgellm benchmark compare before/report.json after/report.json

Every engine runs in a process of its own; after a warm-up, runs alternate (A B C A B C). All of EdgeLLM's targets
must generate the same tokens from the same logits before any time counts. The report consists of report.json,
report.csv, report.md and report.html, which docs/benchmark-report.md describes. After Ctrl-C it has what was
measured so far.")]
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
