//! From the words after `--model` to a model that runs, in four steps: locate, convert, verify, open.

mod choice;
mod convert;
mod export;
mod input;
mod key;
mod links;
mod locate;
mod open;
mod title;
mod verify;

pub(crate) use choice::{Choice, DEFAULT, described, remember};
pub(crate) use convert::{announce, convert_file, with_source};
pub(crate) use export::with_export;
pub(crate) use input::files;
pub(crate) use locate::{original_of, source_of};

use crate::args::RunArgs;
use crate::cache::Cache;
use crate::compute::compute;
use crate::error::{Error, Result};
use edgellm::{Compute, Model};
use edgellm_memory::Placement;
use edgellm_quantize::Format;
use locate::Located;
use std::fs;
use std::path::{Path, PathBuf};
use verify::verify;

/// The path of the model file of `model`, a name of the catalogue or the hub, or a path: downloaded and converted to `format` if
/// necessary.
///
/// # Errors
/// If there is no such model, or it cannot be downloaded or converted.
pub(crate) fn prepare(model: &str, format: Option<Format>, cache: &Cache) -> Result<PathBuf> {
    match locate::locate(model, format, cache)? {
        Located::ModelFile(path) => Ok(path),
        Located::Source(conversion) => convert::convert(*conversion, cache),
    }
}

/// Opens the model file at `path` and verifies all of it. A damaged file of the cache is removed, so that the next run makes
/// it anew.
///
/// # Errors
/// If it is missing or damaged.
pub(crate) fn open(path: &Path, compute: Compute, placement: Placement, cache: &Cache) -> Result<Model> {
    let model = verify(path, placement).and_then(|file| open::open(file, compute));
    model.map_err(|error| discard(error, cache))
}

/// As [`open`], and describes where the weights are and why.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_described(path: &Path, placement: Placement, cache: &Cache) -> Result<(Model, String)> {
    let file = verify(path, placement).map_err(|error| discard(error, cache))?;
    let description = file.bytes.to_string();
    let model = open::open(file, Compute::default()).map_err(|error| discard(error, cache))?;
    Ok((model, description))
}

/// Removes the model file of an error from the cache, if it is there.
fn discard(error: Error, cache: &Cache) -> Error {
    match error {
        Error::Model { path, source } if path.starts_with(cache.root()) && fs::remove_file(&path).is_ok() => {
            Error::Discarded { path, source }
        }
        error => error,
    }
}

/// All four steps, as the command line asks for.
///
/// # Errors
/// If a step fails, or this machine lacks the kernels.
pub(crate) fn load(choice: &Choice, run: &RunArgs, cache: &Cache) -> Result<Model> {
    // First, so that a wrong kernel name costs no download.
    let compute = compute(run)?;
    open(&choice.prepare(cache)?, compute, run.weights, cache)
}
