//! The steps of a run. Each is skipped if its result is there, unless it was asked for by name.

use super::environment::{Environment, threads};
use super::scripts::Scripts;
use super::workspace::Workspace;
use super::{Args, LowBit, quantized};
use crate::cache::Cache;
use crate::command::export;
use crate::error::{Error, Result};
use crate::model;
use crate::progress;
use edgellm_quantize::export::Dtype;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A step of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Step {
    /// Check and split the data
    Prepare,
    /// Train the adapters
    Train,
    /// Add them to the weights, and convert
    Merge,
    /// Measure base, tuned and converted model
    Evaluate,
}

impl Step {
    pub(super) const ALL: [Step; 4] = [Step::Prepare, Step::Train, Step::Merge, Step::Evaluate];
}

pub(super) struct Steps<'a> {
    pub(super) args: &'a Args,
    pub(super) workspace: &'a Workspace,
    pub(super) environment: &'a Environment,
    pub(super) scripts: &'a Scripts,
    pub(super) cache: &'a Cache,
}

impl Steps<'_> {
    /// # Errors
    /// If the step fails, or the results of those before it are missing.
    pub(super) fn run(&self, step: Step) -> Result<()> {
        match step {
            Step::Prepare => self.prepare(&self.workspace.path("data")),
            Step::Train => self.train(),
            Step::Merge => self.merge(),
            Step::Evaluate => self.evaluate(),
        }
    }

    /// Checks the data, and measures what training takes on two steps of it; writes nothing.
    pub(super) fn plan(&self) -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::stream("make a temporary directory"))?;
        let (data, tuned) = (folder.path().join("data"), folder.path().join("tuned"));
        let base = self.base_in(&folder.path().join("base"))?;
        self.prepare_with(&base, &data)?;
        let mut arguments = self.training(&base, &data, &tuned);
        arguments.push("--plan".into());
        self.environment.run(&self.scripts.path("train_qlora.py"), arguments).map(drop)
    }

    fn base(&self) -> Result<PathBuf> {
        self.base_in(&self.workspace.path("base"))
    }

    /// The base model as a Hugging Face directory, exported to `folder` if it is something else.
    fn base_in(&self, folder: &Path) -> Result<PathBuf> {
        let given = Path::new(&self.args.base_model);
        if given.join("config.json").is_file() || folder.join("config.json").is_file() {
            return Ok(if given.is_dir() { given.to_path_buf() } else { folder.to_path_buf() });
        }
        let source = model::original_of(&self.args.base_model, self.cache)?;
        if source.join("config.json").is_file() {
            return Ok(source);
        }
        progress::note("exporting the base model for training");
        export::export(&self.args.base_model, folder, Dtype::F16, self.cache)?;
        Ok(folder.to_path_buf())
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        if self.args.only.is_none() && folder.join("plan.json").exists() {
            return Ok(());
        }
        self.prepare_with(&self.base()?, folder)
    }

    fn prepare_with(&self, base: &Path, folder: &Path) -> Result<()> {
        let args = self.args;
        let mut arguments = words(&[
            ("--data", args.data.as_ref()),
            ("--output", folder.as_ref()),
            ("--model", base.as_ref()),
            ("--split", args.split.as_ref()),
        ]);
        arguments.extend(["--max-length".into(), args.max_length.to_string().into()]);
        arguments.extend(["--seed".into(), args.seed.to_string().into()]);
        if let Some(other) = &args.evaluation_data {
            arguments.extend(["--evaluation-data".into(), other.into()]);
        }
        if args.skip_bad_rows {
            arguments.push("--skip-bad-rows".into());
        }
        arguments.extend(self.template());
        self.environment.run(&self.scripts.path("prepare_dataset.py"), arguments).map(drop)
    }

    fn template(&self) -> Vec<OsString> {
        self.args.template.iter().flat_map(|path| words(&[("--template", path.as_ref())])).collect()
    }

    fn training(&self, base: &Path, data: &Path, output: &Path) -> Vec<OsString> {
        let args = self.args;
        let mut arguments =
            words(&[("--model", base.as_ref()), ("--data", data.as_ref()), ("--output", output.as_ref())]);
        for (name, value) in [
            ("--epochs", args.epochs.to_string()),
            ("--learning-rate", args.learning_rate.to_string()),
            ("--rank", args.rank.to_string()),
            ("--max-length", args.max_length.to_string()),
            ("--seed", args.seed.to_string()),
            ("--threads", threads(args)),
        ] {
            arguments.extend([name.into(), value.into()]);
        }
        arguments.extend(self.template());
        arguments
    }

    fn train(&self) -> Result<()> {
        self.require("data/plan.json", Step::Prepare)?;
        if self.args.adapter.is_some() || self.workspace.has("training.json") {
            return Ok(());
        }
        let base = self.base()?;
        self.measure("base.json", &base)?;
        let mut arguments = self.training(&base, &self.workspace.path("data"), &self.workspace.folder);
        if self.args.resume {
            arguments.push("--resume".into());
        }
        self.environment.run(&self.scripts.path("train_qlora.py"), arguments).map(drop)
    }

    fn merge(&self) -> Result<()> {
        let adapter = self.args.adapter.clone().unwrap_or_else(|| self.workspace.path("adapter"));
        if self.args.adapter.is_none() {
            self.require("training.json", Step::Train)?;
        }
        let merged = self.workspace.path("merged");
        if !merged.exists() {
            progress::note("adding the adapter to the weights");
            let base = self.base()?;
            let arguments = words(&[
                ("--model", base.as_ref()),
                ("--adapter", adapter.as_ref()),
                ("--output", merged.as_ref()),
            ]);
            self.environment.run(&self.scripts.path("merge_lora.py"), arguments)?;
        }
        if self.workspace.model.exists() {
            return Ok(());
        }
        let model = &self.workspace.model;
        match self.args.quantize {
            Some(kind) => quantized::keep(self.args, &self.low_bit(&merged, kind)?, model),
            None => {
                quantized::round(self.args, &merged, &self.workspace.path("data/calibration.jsonl"), model)
            }
        }
    }

    /// Trains the merged model in few bits, and returns its directory.
    fn low_bit(&self, merged: &Path, kind: LowBit) -> Result<PathBuf> {
        let folder = self.workspace.path("low-bit");
        if folder.exists() {
            return Ok(folder);
        }
        let data = self.workspace.path("data");
        let mut arguments =
            words(&[("--model", merged.as_ref()), ("--data", data.as_ref()), ("--output", folder.as_ref())]);
        for (name, value) in [
            ("--kind", kind.name().to_string()),
            ("--steps", self.args.low_bit_steps.to_string()),
            ("--max-length", self.args.max_length.to_string()),
            ("--seed", self.args.seed.to_string()),
            ("--threads", threads(self.args)),
        ] {
            arguments.extend([name.into(), value.into()]);
        }
        if self.args.resume {
            arguments.push("--resume".into());
        }
        self.environment.run(&self.scripts.path("train_low_bit.py"), arguments)?;
        Ok(folder)
    }

    fn evaluate(&self) -> Result<()> {
        self.require("merged/config.json", Step::Merge)?;
        self.measure("base.json", &self.base()?)?;
        self.measure("tuned.json", &self.workspace.path("merged"))?;
        if !self.workspace.has("quantized.json") {
            progress::note(&format!("measuring {}", self.workspace.model.display()));
            let scores = quantized::measure(
                self.args,
                &self.workspace.model,
                &self.workspace.path("data/validation.jsonl"),
                self.cache,
            )?;
            self.workspace.write("quantized.json", &scores)?;
        }
        Ok(())
    }

    /// Measures the model in a Hugging Face directory, unless that was done.
    fn measure(&self, result: &str, folder: &Path) -> Result<()> {
        let data = self.workspace.path("data/validation.jsonl");
        if self.workspace.has(result) || std::fs::metadata(&data).is_ok_and(|found| found.len() == 0) {
            return Ok(());
        }
        progress::note(&format!("measuring {}", folder.display()));
        let mut arguments = words(&[("--model", folder.as_ref()), ("--data", data.as_ref())]);
        arguments.extend(["--max-tokens".into(), self.args.max_tokens.to_string().into()]);
        arguments.extend(["--threads".into(), threads(self.args).into()]);
        arguments.extend(self.template());
        let scores: Value = self.environment.json(&self.scripts.path("evaluate.py"), arguments)?;
        self.workspace.write(result, &scores)
    }

    /// # Errors
    /// If the result of an earlier step is missing.
    fn require(&self, result: &str, step: Step) -> Result<()> {
        if self.workspace.has(result) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} is missing: run --only {} first, or leave out --only",
            self.workspace.path(result).display(),
            format!("{step:?}").to_lowercase()
        )))
    }
}

/// Options with paths, as arguments.
fn words(options: &[(&str, &std::ffi::OsStr)]) -> Vec<OsString> {
    options.iter().flat_map(|(name, value)| [OsString::from(name), value.to_os_string()]).collect()
}
