//! What the words after `--model` mean: a model file, or a source to convert.

use super::convert::Conversion;
use super::input::{self, Input};
use super::key::Key;
use super::verify::is_current;
use crate::cache::{self, Cache};
use crate::catalogue::Entry;
use crate::error::{Error, Result};
use crate::reference::PREFIX;
use crate::{catalogue, fetch};
use edgellm_quantize::{Format, QuantizeOptions};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

/// A model on this machine.
pub(crate) enum Located {
    /// A model file.
    ModelFile(PathBuf),
    /// A source whose model file is not in the cache yet.
    Source(Box<Conversion>),
}

/// Finds `model`, a name of the catalogue or the hub, or a path, and downloads it if necessary. A source is to be converted to
/// `format` (auto if not given), unless the cache has the result already.
///
/// # Errors
/// If there is no such model, or it cannot be downloaded.
pub(crate) fn locate(model: &str, format: Option<Format>, cache: &Cache) -> Result<Located> {
    if let Some(entry) = catalogue::find(model) {
        let options = options(format);
        let (folder, key) = (cache.model(&entry.name), Key::of_catalogue(&entry.name));
        let output = folder.join(key.file_name(options.format));
        cache.check(&output)?;
        if is_current(&output) {
            return Ok(Located::ModelFile(output));
        }
        let source = fetch::ensure(&entry, cache)?;
        let name = Some(entry.title().to_string());
        return Ok(Located::Source(Box::new(Conversion { source, folder, options, key, name })));
    }
    let path = input::whole(existing(model)?);
    match (Input::open(&path)?, format) {
        (Input::ModelFile(_), None) => Ok(Located::ModelFile(path)),
        (Input::ModelFile(_), Some(format)) => Err(Error::Usage(format!(
            "{model} is already converted, so --format {format} cannot apply: \
             leave out --format, or give the source of the model"
        ))),
        (Input::Gguf(_) | Input::Folder(_), format) => source(&path, options(format), cache),
    }
}

/// The path that `model` is.
///
/// # Errors
/// If there is nothing.
fn existing(model: &str) -> Result<&Path> {
    let path = Path::new(model);
    if path.exists() {
        return Ok(path);
    }
    let like_a_path = model.contains(['/', '\\'])
        || [".bin", ".gguf", ".safetensors"].iter().any(|ending| model.ends_with(ending));
    Err(if like_a_path && !model.starts_with(PREFIX) {
        Error::NoSuchFile { path: path.to_path_buf() }
    } else {
        catalogue::unknown(model)
    })
}

/// The path of `model`, a name of the catalogue or the hub, or a path, as it was published: it is downloaded if necessary, and
/// nothing is converted.
///
/// # Errors
/// If there is no such model, or it cannot be downloaded.
pub(crate) fn original_of(model: &str, cache: &Cache) -> Result<PathBuf> {
    if let Some(entry) = catalogue::find(model) {
        return fetch::ensure(&entry, cache);
    }
    let path = existing(model)?;
    verify_download(path, cache)?;
    Ok(path.to_path_buf())
}

/// The conversion of a GGUF file or Hugging Face directory that the user gave.
fn source(path: &Path, options: QuantizeOptions, cache: &Cache) -> Result<Located> {
    let resolved = fs::canonicalize(path).map_err(Error::file("resolve", path))?;
    let owner = owner(&resolved, cache);
    let (key, folder) = match &owner {
        Some(entry) => (Key::of_catalogue(&entry.name), cache.model(&entry.name)),
        None => (Key::of_path(&resolved, input::parts(path))?, cache.files()),
    };
    let name = owner.map(|entry| entry.title().to_string());
    let output = folder.join(key.file_name(options.format));
    cache.check(&output)?;
    if is_current(&output) {
        return Ok(Located::ModelFile(output));
    }
    verify_download(path, cache)?;
    let source = path.to_path_buf();
    Ok(Located::Source(Box::new(Conversion { source, folder, options, key, name })))
}

fn options(format: Option<Format>) -> QuantizeOptions {
    let mut options = QuantizeOptions::new(format.unwrap_or(Format::Auto));
    options.tool = concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string();
    options
}

/// The source that a user names to convert, and what its model is called: a model of the hub is downloaded, and a path that is
/// a download, or part of one, verified. Without a cache there are only paths.
///
/// # Errors
/// If it cannot be read or downloaded.
pub(crate) fn source_of(input: &Path, cache: Option<&Cache>) -> Result<(PathBuf, Option<String>)> {
    let name = input.to_str().filter(|name| name.starts_with(PREFIX));
    match (name, cache) {
        (Some(name), Some(cache)) => {
            let entry = catalogue::get(name)?;
            Ok((fetch::ensure(&entry, cache)?, Some(entry.title().to_string())))
        }
        (Some(_), None) => Err(Error::NoCacheFolder),
        (None, cache) => {
            cache.map_or(Ok(()), |cache| verify_download(input, cache))?;
            Ok((input.to_path_buf(), None))
        }
    }
}

/// Verifies the download that `path` is, or is part of, if it is one; a damaged one is downloaded again.
///
/// # Errors
/// If it cannot be read or downloaded.
fn verify_download(path: &Path, cache: &Cache) -> Result<()> {
    let owner = fs::canonicalize(path).ok().and_then(|path| owner(&path, cache));
    owner.map_or(Ok(()), |entry| fetch::ensure(&entry, cache).map(drop))
}

/// The model whose download `path` is, or is part of.
fn owner(path: &Path, cache: &Cache) -> Option<Cow<'static, Entry>> {
    let root = fs::canonicalize(cache.root()).ok()?;
    let mut parts = path.strip_prefix(root.join("models")).ok()?.iter();
    let entry = catalogue::find(&cache::model_name(parts.next()?.to_str()?))?;
    (parts.next()? == "source").then_some(entry)
}
