//! The command line: a subset of `edgellm`'s, with the same names and defaults.

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
    /// Generate an answer to a prompt
    Generate(GenerateArgs),
    /// Show information about a model file
    Info(ModelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A .tmac2.bin file in a directory preopened with --dir
    #[arg(long, short, value_name = "PATH")]
    pub(crate) model: String,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The prompt: a question, or with --raw a text to continue
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: String,
    /// System prompt: instructions that precede the question
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    /// Continue the prompt as it is, without a chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// Take special tokens that are written in messages, such as <|im_end|>, for tokens instead of text
    #[arg(long)]
    pub(crate) parse_special_in_content: bool,
    /// Generate at most N tokens
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    pub(crate) max_tokens: usize,
    /// Stop string, at which generation ends; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// Context: the most tokens of prompt and answer together [default: the model's longest]
    #[arg(long, short, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Print one JSON object instead: text, token_ids, finish_reason, timings, kernel
    #[arg(long)]
    pub(crate) json: bool,
    /// Below 1 sharper, above 1 more random; 0 always takes the most likely token
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    temperature: f32,
    /// Sample from the N most likely tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 40)]
    top_k: usize,
    /// Sample from the most likely tokens whose probabilities add up to P; 1 for all
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    top_p: f32,
    /// Exclude tokens with less than P times the highest probability; 0 for none
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    min_p: f32,
    /// Seed of the random numbers: the same seed gives the same text on every machine
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
