//! `edgellm finetune`.

mod environment;
mod quantized;
mod scripts;
mod settings;
mod steps;
mod table;
mod workspace;

use crate::args::{format_parser, head_parser};
use crate::cache::Cache;
use crate::error::Result;
use crate::progress;
use edgellm_quantize::{Format, HeadFormat};
use environment::Environment;
use settings::Settings;
use std::path::PathBuf;
use steps::{Step, Steps};
use workspace::Workspace;

/// Fine-tune a model on your own data, and convert it to a file that runs everywhere
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm finetune --base-model smollm2-135m-instruct --data mine.jsonl --output mine.tmac2.bin
  edgellm finetune --base-model smollm2-135m-instruct --data mine.jsonl --output mine.tmac2.bin --dry-run
  edgellm finetune --base-model ./SmolLM2-360M-Instruct --data mine.csv --evaluation-data other.csv --output tuned/
  edgellm finetune --base-model smollm2-135m-instruct --data mine.jsonl --output mine.tmac2.bin --resume

The data is checked and split, adapters (LoRA) are trained and added to the weights, the result is converted with the training
data as calibration, and base, tuned and converted model are measured on rows that were not trained on. Rows are conversations
({\"messages\": [...]}), prompt and completion, instruction, input and output, or text, in JSON lines, JSON, CSV or Parquet, or a
data set of the Hugging Face hub. Training runs in Python (transformers, peft, trl), in an environment that is made once, after
it was announced. Ctrl-C leaves a checkpoint, from which --resume goes on.")]
pub(crate) struct Args {
    /// Model to tune: a name that `edgellm list` shows; hf:OWNER/REPO; or the path of a Hugging Face directory or a .gguf file
    #[arg(long, short, value_name = "NAME|PATH")]
    base_model: String,
    /// Rows to train on: a .jsonl, .json, .csv, .tsv or .parquet file, or OWNER/NAME of the Hugging Face hub
    #[arg(long, short, value_name = "FILE")]
    data: String,
    /// Rows to measure on [default: a tenth of --data, which is then not trained on]
    #[arg(long, value_name = "FILE")]
    evaluation_data: Option<String>,
    /// File to write (NAME.tmac2.bin; what leads to it goes to NAME.finetune), or a directory for everything
    #[arg(long, short, value_name = "PATH")]
    output: PathBuf,
    /// Format of the layers' weights
    #[arg(long, short, value_name = "FORMAT", default_value = "int4", value_parser = format_parser())]
    format: Format,
    /// Format of the embedding and the LM head [default: int8]
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = head_parser())]
    head: HeadFormat,
    /// Train in the bits in which the weights are stored, after the adapters are in them, instead of rounding afterwards
    #[arg(long, value_name = "KIND", value_enum, conflicts_with = "format")]
    quantize: Option<LowBit>,
    /// Steps of --quantize
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "quantize")]
    low_bit_steps: u32,
    /// Passes over the data
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    epochs: f64,
    /// Learning rate at its largest
    #[arg(long, value_name = "X", default_value_t = 5e-4)]
    learning_rate: f64,
    /// Rank of the adapters
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    rank: u32,
    /// Tokens of a row, at most; longer ones are left out
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..))]
    max_length: u32,
    /// Seed of split, adapters and order
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// Chat template (a Jinja file) in place of the model's
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Part of a data set of the hub
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,
    /// Train without the rows that are bad, instead of refusing
    #[arg(long)]
    skip_bad_rows: bool,
    /// Adapter in PEFT's format to use instead of training one
    #[arg(long, value_name = "DIRECTORY")]
    adapter: Option<PathBuf>,
    /// Tokens of an answer that is measured, at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// Only check the data, and say how many steps, how much memory and how much time training takes
    #[arg(long)]
    dry_run: bool,
    /// Do one step, from the results of those before it
    #[arg(long, value_name = "STEP", value_enum)]
    only: Option<Step>,
    /// Go on with what an interrupted run left, if there is one
    #[arg(long)]
    resume: bool,
    /// Python interpreter that has the packages, instead of an environment of our own
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Threads [default: the number of cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Print the results as a JSON object
    #[arg(long)]
    json: bool,
}

/// What weights can be trained in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LowBit {
    /// 3 bits, in groups of 32
    Int3,
    /// 2 bits, in groups of 32
    Int2,
    /// Ternary, with one scale a matrix
    Bitnet,
}

impl LowBit {
    fn name(self) -> &'static str {
        match self {
            LowBit::Int3 => "int3",
            LowBit::Int2 => "int2",
            LowBit::Bitnet => "bitnet",
        }
    }
}

impl Args {
    /// From data to a model file.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let settings = Settings::of(&self);
        let workspace = Workspace::open(&self, &settings)?;
        let scripts = scripts::unpack(cache)?;
        // Faults that any Python finds, before gigabytes are downloaded.
        environment::check_data(&scripts, &self)?;
        let environment = Environment::find(self.python.as_deref(), cache)?;
        let steps =
            Steps { args: &self, workspace: &workspace, environment: &environment, scripts: &scripts, cache };
        if self.dry_run {
            return steps.plan();
        }
        workspace.begin(&settings)?;
        match self.only {
            Some(step) => steps.run(step)?,
            None => Step::ALL.into_iter().try_for_each(|step| steps.run(step))?,
        }
        if self.only.is_some_and(|step| step != Step::Evaluate) {
            progress::note(&format!("done; results are in {}", workspace.folder.display()));
            return Ok(());
        }
        table::print(&workspace, self.json)
    }
}
