//! `edgellm benchmark-worker`: one engine, for `edgellm benchmark` to measure.

use crate::args::{ModelArgs, RunArgs};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::open;
use edgellm_benchmark::browser::{self, Engine, Page};
use edgellm_benchmark::native;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// Run prompts for `edgellm benchmark`, by its protocol (docs/benchmark-report.md)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What runs them
    #[arg(long, value_enum, default_value_t = Kind::Native)]
    kind: Kind,
    /// Tokens of context
    #[arg(long, value_name = "N")]
    context: usize,
    /// Folder of the package that a browser's page loads
    #[arg(long, value_name = "PATH", required_if_eq_any([("kind", "browser"), ("kind", "wllama")]))]
    package: Option<PathBuf>,
    /// The browser
    #[arg(long, value_name = "PATH")]
    chromium: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// Workers that this program has.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// This program itself
    Native,
    /// The package edgellm-web in Chromium
    Browser,
    /// wllama in Chromium
    Wllama,
}

impl Args {
    /// Speaks the protocol until its input ends.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let engine = match self.kind {
            Kind::Native => return self.native(cache),
            Kind::Browser => Engine::EdgeLlm,
            Kind::Wllama => Engine::Wllama,
        };
        let page = Page {
            engine,
            package: self.package.unwrap_or_default(),
            model: self.model.model.into(),
            threads: self.run.threads.map_or(1, usize::from),
            context: self.context,
            chromium: self.chromium,
        };
        browser::serve(&page, io::stdin().lock(), io::stdout().lock()).map_err(failed)
    }

    fn native(self, cache: &Cache) -> Result<()> {
        let path = self.model.locate(cache)?;
        let start = Instant::now();
        let model = open::open(&path, self.run.compute()?, self.run.weights.placement())?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let options = self.run.session_options(Some(self.context));
        native::serve(&model, options, load_ms, io::stdin().lock(), io::stdout().lock()).map_err(failed)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Stream { action: "speak to the benchmark", source }
}
