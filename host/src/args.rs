//! Options that several commands share.

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::{open, system};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm::{CacheFormat, Compute, Model, Precision, SessionOptions, available_kernels};
use edgellm_memory::Placement;
use edgellm_quantize::{Format, HeadFormat};
use std::path::PathBuf;

/// Which model.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A name that `edgellm list` shows, or the path of a .tmac2.bin file, a .gguf file or a Hugging Face
    /// folder. What is not there yet is downloaded and converted once, into the cache
    #[arg(long, short, value_name = "NAME|PATH")]
    pub(crate) model: String,
    /// What to convert the model to, where it is not a .tmac2.bin file yet [default: int4]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    pub(crate) format: Option<Format>,
}

/// How to run it.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Threads [default: the number of cores]. The output does not depend on it
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Kernels to use, one of those that `edgellm doctor` lists [default: the fastest]. The output does not
    /// depend on it
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Option<String>,
    /// How finely activations are rounded: the finer, the closer to the float model and the slower long prompts
    #[arg(long, value_enum, default_value_t = PrecisionArg::Standard)]
    pub(crate) precision: PrecisionArg,
    /// What the KV cache holds keys and values in: int8 takes about half the memory
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = CacheArg::F16)]
    pub(crate) kv_cache: CacheArg,
    /// Where the weights are: `auto` maps the file where the page cache has it in huge pages, and else copies it into
    /// some if memory is ample
    #[arg(long, value_enum, value_name = "PLACE", default_value_t = WeightsArg::Auto)]
    pub(crate) weights: WeightsArg,
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
    pub(crate) plugin: Option<PathBuf>,
}

/// What to do without the plugin.
pub(crate) const NO_PLUGIN: &str = "this edgellm was built without its sandbox: run `scripts/build-plugin relaxed`, then \
                                    `cargo install --path host --features plugin`";

/// The targets of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The engine in this program
    Native,
    /// The component in wasmtime
    Plugin,
}

/// How to choose tokens. The defaults are the engine's, and they are llama.cpp's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
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
    /// Divide the logits of recent tokens by this; 1 changes nothing
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Subtract this from the logits of recent tokens
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Subtract this from the logits of recent tokens, once for each time they occurred
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// Where the random numbers begin: the same seed gives the same text, on every machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl SamplingArgs {
    /// A sampler with these options.
    pub(crate) fn sampler(&self) -> Result<Sampler> {
        Ok(Sampler::new(self.options())?)
    }

    /// The options.
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

/// [`Precision`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// 8 bits everywhere
    Fast,
    /// 8 bits, with 6 more where it matters
    Standard,
    /// 14 bits everywhere, for measuring
    High,
}

/// [`CacheFormat`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CacheArg {
    /// 16-bit floats
    F16,
    /// 8 bits, with a scale for each 32 elements
    Int8,
}

/// [`Placement`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WeightsArg {
    /// What is faster, as far as memory allows
    Auto,
    /// In the file's own pages, which the system shares and can take back
    Mapped,
    /// In memory of this process
    Copied,
}

impl WeightsArg {
    /// The same.
    pub(crate) fn placement(self) -> Placement {
        match self {
            WeightsArg::Auto => Placement::Auto,
            WeightsArg::Mapped => Placement::Mapped,
            WeightsArg::Copied => Placement::Copied,
        }
    }
}

impl ModelArgs {
    /// The model file, downloaded and converted if need be.
    pub(crate) fn locate(&self, cache: &Cache) -> Result<PathBuf> {
        open::locate(&self.model, self.format, cache)
    }

    /// The model, ready to run.
    pub(crate) fn open(&self, run: &RunArgs, cache: &Cache) -> Result<Model> {
        // First, so that a wrong kernel name costs no download.
        let compute = run.compute()?;
        open::open(&self.locate(cache)?, compute, run.weights.placement())
    }
}

impl RunArgs {
    /// The defaults, with this kernel.
    pub(crate) fn with_kernel(kernel: Option<String>) -> Self {
        RunArgs {
            threads: None,
            kernel,
            precision: PrecisionArg::Standard,
            kv_cache: CacheArg::F16,
            weights: WeightsArg::Auto,
        }
    }

    /// The kernels and threads asked for.
    pub(crate) fn compute(&self) -> Result<Compute> {
        let available = available_kernels();
        let chosen = match &self.kernel {
            None => available.first(),
            Some(name) => available.iter().find(|kernels| kernels.name() == name),
        };
        let Some(&kernels) = chosen else {
            let names: Vec<_> = available.iter().map(|kernels| kernels.name()).collect();
            return Err(Error::Usage(format!(
                "this machine cannot run the kernel {:?}; it can run {}",
                self.kernel.as_deref().unwrap_or_default(),
                names.join(", ")
            )));
        };
        let threads = self.threads.map_or_else(system::physical_cores, usize::from);
        Ok(Compute::new(kernels, threads))
    }

    /// Session options with this precision and cache, and a context of `context` tokens.
    pub(crate) fn session_options(&self, context: Option<usize>) -> SessionOptions {
        let precision = match self.precision {
            PrecisionArg::Fast => Precision::Fast,
            PrecisionArg::Standard => Precision::Standard,
            PrecisionArg::High => Precision::High,
        };
        let kv_cache = match self.kv_cache {
            CacheArg::F16 => CacheFormat::F16,
            CacheArg::Int8 => CacheFormat::Int8,
        };
        SessionOptions { context_length: context, precision, kv_cache }
    }
}

/// Reads a format's name and lists all of them in the help.
pub(crate) fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse())
}

/// Reads the head's format.
pub(crate) fn head_parser() -> impl TypedValueParser<Value = HeadFormat> {
    PossibleValuesParser::new(["int8", "int4"]).try_map(|name| name.parse())
}
