//! `edgellm benchmark-worker`: one engine, for `edgellm benchmark` to measure.

use crate::args::{ModelArgs, RunArgs};
#[cfg(feature = "plugin")]
use crate::args::{Target, TargetArgs};
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
    /// Component of the plugin [default: the one built into this program]
    #[cfg(feature = "plugin")]
    #[arg(long, value_name = "PATH")]
    component: Option<PathBuf>,
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
    /// The component in this program's sandbox
    #[cfg(feature = "plugin")]
    Plugin,
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
            #[cfg(feature = "plugin")]
            Kind::Plugin => return self.plugin(cache),
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

    #[cfg(feature = "plugin")]
    fn plugin(self, cache: &Cache) -> Result<()> {
        let target = TargetArgs { target: Target::Plugin, plugin: self.component };
        super::plugin::serve(&target, self.run, &self.model.locate(cache)?, self.context, cache)
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

pub(super) fn failed(source: io::Error) -> Error {
    Error::Stream { action: "speak to the benchmark", source }
}
