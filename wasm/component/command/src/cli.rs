//! The command line: a part of `edgellm`'s, with the same names and defaults.

use clap::{Args, Parser, Subcommand};
use edgellm::sampler::SamplerOptions;

/// Runs language models from low-bit weights, as a WebAssembly component.
#[derive(Debug, Parser)]
#[command(name = "edgellm", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a prompt
    Generate(GenerateArgs),
    /// Tell about a model file
    Info(ModelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A .tmac2.bin file in a folder that was given with --dir
    #[arg(long, short, value_name = "PATH")]
    pub(crate) model: String,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The question, or with --raw the beginning of the text
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: String,
    /// What the model should know or be, before the question
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    /// Continue the prompt as it stands, without a chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// End after so many tokens
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    pub(crate) max_tokens: usize,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// Longest prompt and answer together, in tokens [default: what the model was trained for]
    #[arg(long, short, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Print one JSON object instead: text, token_ids, finish_reason, timings, kernel
    #[arg(long)]
    pub(crate) json: bool,
    /// Below 1 sharper, above 1 more random; 0 always takes the likeliest token
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    temperature: f32,
    /// Choose among so many likeliest tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 40)]
    top_k: usize,
    /// Choose among the likeliest tokens whose probabilities add up to this; 1 for all
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    top_p: f32,
    /// Leave out tokens less than this many times as likely as the likeliest; 0 for none
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    min_p: f32,
    /// Where the random numbers begin: the same seed gives the same text, on every machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl GenerateArgs {
    pub(crate) fn sampler(&self) -> SamplerOptions {
        SamplerOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
            ..SamplerOptions::default()
        }
    }
}
