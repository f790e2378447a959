//! `edgellm benchmark-worker`: runs one engine for `edgellm benchmark`.

use crate::args::{ModelArgs, RunArgs};
#[cfg(feature = "plugin")]
use crate::args::{Target, TargetArgs};
use crate::cache::Cache;
use crate::compute::compute;
use crate::error::{Error, Result};
use crate::model;
use edgellm_benchmark::browser::{self, Engine, Page};
use edgellm_benchmark::native;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// What fails if a pipe to the benchmark does.
const TALK: &str = "communicate with the benchmark";

/// Run prompts for `edgellm benchmark` with its protocol (docs/benchmark-report.md)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Engine that runs them
    #[arg(long, value_enum, default_value_t = Kind::Native)]
    kind: Kind,
    /// Tokens of context
    #[arg(long, value_name = "N")]
    context: usize,
    /// Directory of the package that the page loads
    #[arg(long, value_name = "PATH", required_if_eq_any([("kind", "browser"), ("kind", "wllama")]))]
    package: Option<PathBuf>,
    /// Component for the plugin [default: the one built into this program]
    #[cfg(feature = "plugin")]
    #[arg(long, value_name = "PATH")]
    component: Option<PathBuf>,
    /// Browser
    #[arg(long, value_name = "PATH")]
    chromium: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// The workers of this program.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// The engine in this program
    Native,
    /// The component in a sandbox of this program
    #[cfg(feature = "plugin")]
    Plugin,
    /// The package edgellm-web in Chromium
    Browser,
    /// wllama in Chromium
    Wllama,
}

impl Args {
    /// Serves requests until the input ends.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let engine = match self.kind {
            Kind::Native => return self.native(cache),
            #[cfg(feature = "plugin")]
            Kind::Plugin => return self.plugin(cache),
            Kind::Browser => Engine::EdgeLlm,
            Kind::Wllama => Engine::Wllama,
        };
        let page = Page {
            engine,
            package: self.package.unwrap_or_default(),
            model: self.model.choose(cache).model.into(),
            threads: self.run.threads.map_or(1, usize::from),
            context: self.context,
            chromium: self.chromium,
        };
        browser::serve(&page, io::stdin().lock(), io::stdout().lock()).map_err(Error::stream(TALK))
    }

    #[cfg(feature = "plugin")]
    fn plugin(self, cache: &Cache) -> Result<()> {
        let target = TargetArgs { target: Target::Plugin, plugin: self.component };
        let path = self.model.choose(cache).prepare(cache)?;
        super::plugin::serve(&target, self.run, &path, self.context, cache, Error::stream(TALK))
    }

    fn native(self, cache: &Cache) -> Result<()> {
        let path = self.model.choose(cache).prepare(cache)?;
        let start = Instant::now();
        let model = model::open(&path, compute(&self.run)?, self.run.weights, cache)?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let options = self.run.session_options(Some(self.context));
        native::serve(&model, options, load_ms, io::stdin().lock(), io::stdout().lock())
            .map_err(Error::stream(TALK))
    }
}
