//! Options that several commands share.

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::{open, system};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use edgellm::{Compute, Model, Precision, SessionOptions, available_kernels};
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
    /// How finely activations are rounded: high takes about twice the time
    #[arg(long, value_enum, default_value_t = PrecisionArg::Standard)]
    pub(crate) precision: PrecisionArg,
}

/// [`Precision`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// 8 bits, as fast as can be
    Standard,
    /// 16 bits, for measuring
    High,
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
        open::open(&self.locate(cache)?, compute)
    }
}

impl RunArgs {
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

    /// Session options with this precision and a context of `context` tokens.
    pub(crate) fn session_options(&self, context: Option<usize>) -> SessionOptions {
        let precision = match self.precision {
            PrecisionArg::Standard => Precision::Standard,
            PrecisionArg::High => Precision::High,
        };
        SessionOptions { context_length: context, precision }
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
