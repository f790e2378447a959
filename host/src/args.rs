//! Options that several commands share. They are only parsed here; `crate::model` and `crate::compute` act on them.

use crate::cache::Cache;
use crate::model::Choice;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use edgellm::sampler::SamplerOptions;
use edgellm::{CacheFormat, Precision, SessionOptions};
use edgellm_memory::Placement;
use edgellm_quantize::{Format, HeadFormat, I2sOrder, Scales};

/// Which model, as an option.
#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    /// A name that `edgellm list` shows; hf:OWNER/REPO for a model of the Hugging Face hub (`edgellm pull --help` says
    /// more); or the path of a .tmac2.bin file, a .gguf file or a Hugging Face directory. It is downloaded and converted
    /// once, into the cache [default: the model used last, or smollm2-135m-instruct]
    #[arg(long, short, value_name = "NAME|PATH")]
    pub(crate) model: Option<String>,
    /// Format to convert the model to, unless it is a .tmac2.bin file [default: auto]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) format: Option<Format>,
}

/// Which model, as an option or without.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The same as --model
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    named: Option<String>,
    #[command(flatten)]
    options: ModelOptions,
}

impl ModelArgs {
    /// The model that is meant; says on standard error which one, if the command line does not.
    pub(crate) fn choose(&self, cache: &Cache) -> Choice {
        let given = self.named.as_deref().or(self.options.model.as_deref());
        Choice::of(given, self.options.format, cache)
    }
}

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Threads [default: the number of cores]. The output does not depend on it
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Kernels to use, from those that `edgellm doctor` lists [default: the fastest]. The output does not
    /// depend on it
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Option<String>,
    /// Precision of quantized activations: a higher one is closer to the float model and slower on long prompts
    #[arg(long, default_value = "standard", value_parser = one_of(PRECISIONS))]
    pub(crate) precision: Precision,
    /// Format of the KV cache: int8 takes about half the memory
    #[arg(long, value_name = "FORMAT", default_value = "f16", value_parser = one_of(CACHE_FORMATS))]
    pub(crate) kv_cache: CacheFormat,
    /// Placement of the weights: `auto` memory-maps the file if the page cache holds it in huge pages, and otherwise
    /// copies it into huge pages if there is enough memory. A file that another user can change is always copied
    #[arg(long, value_name = "PLACE", default_value = "auto", value_parser = one_of(PLACEMENTS))]
    pub(crate) weights: Placement,
}

/// A value of an option: its name, what it stands for, and its help.
pub(crate) type Choices<T> = &'static [(&'static str, T, &'static str)];

const PRECISIONS: Choices<Precision> = &[
    ("fast", Precision::Fast, "8 bits everywhere"),
    ("standard", Precision::Standard, "8 bits, and 6 more for large values"),
    ("high", Precision::High, "14 bits everywhere, for measurements"),
];

pub(crate) const SCALES: Choices<Scales> = &[
    ("halves", Scales::Halves, "16 bits for each scale and each minimum"),
    (
        "six",
        Scales::SixBits,
        "six bits each, under a 16-bit scale and minimum of the row: for int4, int3 and int2",
    ),
];

const CACHE_FORMATS: Choices<CacheFormat> = &[
    ("f16", CacheFormat::F16, "16-bit floats"),
    ("int8", CacheFormat::Int8, "8 bits, with a scale for every 32 elements"),
];

const PLACEMENTS: Choices<Placement> = &[
    ("auto", Placement::Auto, "Whichever is faster, as far as memory allows"),
    ("mapped", Placement::Mapped, "In the page cache, which the system shares and can reclaim"),
    ("copied", Placement::Copied, "In the memory of this process"),
];

/// How messages become tokens.
#[derive(Debug, Args)]
pub(crate) struct ContentArgs {
    /// Take special tokens that are written in messages, such as <|im_end|>, for tokens instead of text. Whoever
    /// writes a message can then end it and begin another
    #[arg(long)]
    pub(crate) parse_special_in_content: bool,
}

/// Where it runs.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Where the model runs: in this program, or as a WebAssembly component in a sandbox, on one thread. The output
    /// does not depend on it
    #[arg(long, value_enum, default_value_t = Target::Native)]
    pub(crate) target: Target,
    /// Component to run with --target plugin [default: the one built into this program]
    #[cfg(feature = "plugin")]
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<std::path::PathBuf>,
}

/// The message for `--target plugin` in a program that was built without it.
pub(crate) const NO_PLUGIN: &str = "this edgellm was built without the plugin: run `scripts/build-plugin relaxed`, then \
                                    `cargo install --path host --features plugin`";

/// The targets of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The engine in this program
    Native,
    /// The component in a sandbox
    Plugin,
}

/// How to sample tokens. The defaults are the engine's, which are llama.cpp's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Randomness: below 1 less, above 1 more; 0 always takes the most likely token
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().temperature)]
    temperature: f32,
    /// Sample from the N most likely tokens; 0 disables
    #[arg(long, value_name = "N", default_value_t = SamplerOptions::default().top_k)]
    top_k: usize,
    /// Sample from the most likely tokens whose probabilities add up to P; 1 disables
    #[arg(long, value_name = "P", default_value_t = SamplerOptions::default().top_p)]
    top_p: f32,
    /// Exclude tokens whose probability is below P times that of the most likely one; 0 disables
    #[arg(long, value_name = "P", default_value_t = SamplerOptions::default().min_p)]
    min_p: f32,
    /// Divide the logits of recent tokens by X; 1 disables
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().repetition_penalty)]
    repeat_penalty: f32,
    /// Subtract X from the logits of recent tokens; 0 disables
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().presence_penalty, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Subtract X from the logits of recent tokens, once for each occurrence; 0 disables
    #[arg(long, value_name = "X", default_value_t = SamplerOptions::default().frequency_penalty, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// Seed of the random numbers: the same seed gives the same text, on every machine
    #[arg(long, value_name = "N", default_value_t = SamplerOptions::default().seed)]
    seed: u64,
}

impl SamplingArgs {
    /// The options of the sampler.
    pub(crate) fn options(&self) -> SamplerOptions {
        SamplerOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed,
            ..SamplerOptions::default()
        }
    }
}

impl RunArgs {
    /// The defaults, with these kernels.
    pub(crate) fn with_kernel(kernel: Option<String>) -> Self {
        let SessionOptions { precision, kv_cache, .. } = SessionOptions::default();
        RunArgs { threads: None, kernel, precision, kv_cache, weights: Placement::default() }
    }

    /// Session options with this precision and KV cache, and a context of `context` tokens.
    pub(crate) fn session_options(&self, context: Option<usize>) -> SessionOptions {
        SessionOptions { context_length: context, precision: self.precision, kv_cache: self.kv_cache }
    }
}

/// Parses one of `choices` and lists them in the help.
pub(crate) fn one_of<T: Copy + Send + Sync>(choices: Choices<T>) -> impl TypedValueParser<Value = T> {
    let values = choices.iter().map(|&(name, _, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).try_map(move |given| {
        let chosen = choices.iter().find(|(name, ..)| *name == given);
        chosen.map(|&(_, value, _)| value).ok_or("not one of the possible values")
    })
}

/// Parses the name of a format and lists all of them in the help.
pub(crate) fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse())
}

/// Parses the order of I2_S's codes.
pub(crate) fn order_parser() -> impl TypedValueParser<Value = I2sOrder> {
    PossibleValuesParser::new(I2sOrder::ALL.map(|(_, name)| name)).try_map(|name| name.parse())
}

/// Parses the format of embedding and LM head.
pub(crate) fn head_parser() -> impl TypedValueParser<Value = HeadFormat> {
    PossibleValuesParser::new(HeadFormat::all().map(HeadFormat::name)).try_map(|name| name.parse())
}
