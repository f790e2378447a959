//! The model to run where the command line names none: the one used last, else a small one.

use crate::cache::Cache;
use crate::error::Result;
use crate::progress;
use crate::{catalogue, output};
use edgellm_quantize::Format;
use std::fs;
use std::path::{Path, PathBuf};

/// The model of who has not chosen one.
pub(crate) const DEFAULT: &str = "smollm2-135m-instruct";
/// Bytes of a name that is remembered, at most.
const LONGEST: usize = 4096;

/// What `--model` and `--format` say.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// A name of the catalogue or the hub, or a path.
    pub(crate) model: String,
    /// Format to convert it to.
    pub(crate) format: Option<Format>,
}

impl Choice {
    /// `given`, or the model used last, or the default; says which, if none is given.
    pub(crate) fn of(given: Option<&str>, format: Option<Format>, cache: &Cache) -> Self {
        let model = given.map_or_else(|| unnamed(cache), ToString::to_string);
        Choice { model, format }
    }

    /// The path of its model file, as [`prepare`](super::prepare) finds or makes it.
    ///
    /// # Errors
    /// If there is no such model, or it cannot be downloaded or converted.
    pub(crate) fn prepare(&self, cache: &Cache) -> Result<PathBuf> {
        super::prepare(&self.model, self.format, cache)
    }
}

/// The model of who names none, with a note that says which and why.
fn unnamed(cache: &Cache) -> String {
    if let Some(last) = last(cache) {
        progress::note(&format!("model: {last}, the one used last"));
        return last;
    }
    progress::note(&format!("model: {}; `edgellm list` shows others", described(DEFAULT)));
    DEFAULT.to_string()
}

/// A name of the catalogue with size and licence.
pub(crate) fn described(name: &str) -> String {
    let Some(entry) = catalogue::find(name) else { return name.to_string() };
    let size = entry.bytes.map(output::human_bytes);
    let details: Vec<String> = size.into_iter().chain(entry.licence.clone()).collect();
    if details.is_empty() { name.to_string() } else { format!("{name} ({})", details.join(", ")) }
}

/// The model used last, if it is still there.
fn last(cache: &Cache) -> Option<String> {
    let text = cache.recall(&cache.last_model())?;
    let name = text.trim_end_matches('\n');
    let usable = !name.is_empty() && name.len() <= LONGEST;
    (usable && (catalogue::find(name).is_some() || Path::new(name).exists())).then(|| name.to_string())
}

/// Remembers a model that was opened.
pub(crate) fn remember(model: &str, cache: &Cache) {
    let absolute = || fs::canonicalize(model).ok().map(|path| path.display().to_string());
    let name = if catalogue::find(model).is_some() { Some(model.to_string()) } else { absolute() };
    let Some(name) = name.filter(|name| name.len() <= LONGEST && !name.contains('\n')) else { return };
    let path = cache.last_model();
    let line = format!("{name}\n");
    if cache.recall(&path).as_ref() != Some(&line) {
        cache.keep(&path, &line);
    }
}
