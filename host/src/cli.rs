//! The command line. The options of each command are in its module.

use crate::cache::Cache;
use crate::command::{
    benchmark, chat, completions, doctor, evaluate, export, finetune, generate, info, models, perplexity,
    quantize, serve, tokenize,
};
use crate::error::Result;
use crate::{model, output};
use clap::{CommandFactory as _, Parser, Subcommand};

/// Run language models with low-bit weights on ordinary processors
#[derive(Debug, Parser)]
#[command(name = "edgellm", version, max_term_width = 100, args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  edgellm generate \"Why is the sky blue?\"
  edgellm chat
  edgellm serve smollm2-135m-instruct
  edgellm quantize --input model.gguf --output model.tmac2.bin
  edgellm list

The first use of a model downloads and converts it, into the cache directory that `edgellm doctor` shows and
EDGELLM_HOME sets. `edgellm help COMMAND` describes a command.";

#[derive(Debug, Subcommand)]
enum Command {
    Generate(generate::Args),
    Chat(chat::Args),
    Serve(serve::Args),
    Info(info::Args),
    Tokenize(tokenize::Args),
    Perplexity(perplexity::Args),
    Evaluate(evaluate::Args),
    Benchmark(Box<benchmark::Args>),
    #[command(hide = true)]
    BenchmarkWorker(benchmark::WorkerArgs),
    Quantize(quantize::Args),
    Export(export::Args),
    Finetune(Box<finetune::Args>),
    Pull(models::PullArgs),
    #[command(visible_alias = "models")]
    List(models::ListArgs),
    Rm(models::RmArgs),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) fn run(self) -> Result<()> {
        let cache = Cache::locate();
        let Some(command) = self.command else {
            return output::print(&greeting());
        };
        match command {
            Command::Generate(args) => args.run(&cache?),
            Command::Chat(args) => args.run(&cache?),
            Command::Serve(args) => args.run(&cache?),
            Command::Info(args) => args.run(&cache?),
            Command::Tokenize(args) => args.run(&cache?),
            Command::Perplexity(args) => args.run(&cache?),
            Command::Evaluate(args) => args.run(&cache?),
            Command::Benchmark(args) => args.run(&cache?),
            Command::BenchmarkWorker(args) => args.run(&cache?),
            Command::Quantize(args) => args.run(cache.ok().as_ref()),
            Command::Export(args) => args.run(&cache?),
            Command::Finetune(args) => args.run(&cache?),
            Command::Pull(args) => args.run(&cache?),
            Command::List(args) => args.run(&cache?),
            Command::Rm(args) => args.run(&cache?),
            Command::Doctor(args) => args.run(cache),
            Command::Completions(args) => args.run(Cli::command()),
        }
    }
}

/// What `edgellm` alone prints.
fn greeting() -> String {
    format!(
        "\
EdgeLLM {version} runs language models on this machine's processor. Three commands to begin with:

  edgellm chat                                a conversation in the terminal
  edgellm generate \"Why is the sky blue?\"     one answer
  edgellm serve                               a chat page and OpenAI's API at http://127.0.0.1:8080

They run {model}, which the first use downloads, or the model used last;
`edgellm list` shows others, and `edgellm help` all commands.
",
        version = env!("CARGO_PKG_VERSION"),
        model = model::described(model::DEFAULT),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
