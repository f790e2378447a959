//! The directory of a run: what each step leaves for the next, and for `--resume`.
//!
//! ```text
//! settings.json     what the run was asked for
//! base/             the base model as a Hugging Face directory, if it was none
//! data/             rows to train on, to validate, to calibrate on; plan.json
//! base.json         the base model, measured
//! checkpoints/ log.jsonl adapter/ training.json
//! merged/           base and adapter as a Hugging Face directory
//! tuned.json        it, measured
//! low-bit/          trained in few bits, with --quantize
//! NAME.tmac2.bin    converted (beside this directory if a file was asked for)
//! quantized.json    it, measured
//! ```

use super::Args;
use super::settings::Settings;
use crate::atomic_file;
use crate::cache::{self, MODEL_SUFFIX};
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::PathBuf;

/// The paths of a run.
pub(super) struct Workspace {
    /// All of it but the model file.
    pub(super) folder: PathBuf,
    /// The model file.
    pub(super) model: PathBuf,
}

impl Workspace {
    /// The directory for `--output`, which need not exist.
    ///
    /// # Errors
    /// If it holds the results of another run, or those of this one and nobody asked to go on with them.
    pub(super) fn open(args: &Args, settings: &Settings) -> Result<Self> {
        let output = &args.output;
        let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let workspace = match name.strip_suffix(MODEL_SUFFIX) {
            Some(stem) if !output.is_dir() => {
                Workspace { folder: output.with_file_name(format!("{stem}.finetune")), model: output.clone() }
            }
            _ if output.is_file() => {
                return Err(Error::Usage(format!(
                    "--output {} is a file: give a directory, or a name that ends in {MODEL_SUFFIX}",
                    output.display()
                )));
            }
            _ => {
                let model =
                    output.join(format!("{}{MODEL_SUFFIX}", if name.is_empty() { "model" } else { &name }));
                Workspace { folder: output.clone(), model }
            }
        };
        if args.dry_run {
            return Ok(workspace);
        }
        // A run that failed before its first result is none: its options are what is being mended.
        let begun: Option<Settings> = match workspace.has("data/plan.json") {
            true => workspace.read("settings.json")?,
            false => None,
        };
        let goes_on = args.resume || args.only.is_some();
        match begun {
            Some(begun) if goes_on => match settings.difference(&begun) {
                Some((option, there, here)) => Err(Error::Usage(format!(
                    "{} was begun with --{option} {there}, and not {here}: give that, or another --output",
                    workspace.folder.display()
                ))),
                None => Ok(workspace),
            },
            Some(_) => Err(Error::Usage(format!(
                "{} has an earlier run: go on with --resume, give another --output, or remove it",
                workspace.folder.display()
            ))),
            None if workspace.model.exists() => Err(Error::Usage(format!(
                "{} exists: give another --output, or remove it",
                workspace.model.display()
            ))),
            None => Ok(workspace),
        }
    }

    /// Creates the directory, removes what a killed run left unfinished, and records the settings.
    pub(super) fn begin(&self, settings: &Settings) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(Error::file("create", &self.folder))?;
        for entry in fs::read_dir(&self.folder).map_err(Error::file("read", &self.folder))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && name.ends_with(".draft") && entry.path().is_dir() {
                cache::remove_folder(&entry.path())?;
            }
        }
        self.write("settings.json", settings)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// A JSON file; `None` if it is not there.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        let text = edgellm_files::read_to_string(&path)?;
        let damaged = |error: serde_json::Error| {
            Error::Text(format!("{} is damaged ({error}): remove it", path.display()))
        };
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    pub(super) fn write(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        atomic_file::write(&self.path(name), format!("{text}\n").as_bytes())
    }
}
