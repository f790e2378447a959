//! What the words after `--model` mean: a model file, or a source to convert.

use super::convert::Conversion;
use super::input::Input;
use super::verify::is_current;
use crate::cache::{Cache, MODEL_SUFFIX};
use crate::error::{Error, Result};
use crate::{catalogue, fetch};
use edgellm_quantize::{Format, QuantizeOptions};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A model on this machine.
pub(crate) enum Located {
    /// A model file.
    ModelFile(PathBuf),
    /// A source whose model file is not in the cache yet.
    Source(Conversion),
}

/// Finds `model`, a name of the catalogue or a path, and downloads it if necessary. A source is to be converted to
/// `format` (int4 if not given), unless the cache has the result already.
///
/// # Errors
/// If there is no such model, or it cannot be downloaded.
pub(crate) fn locate(model: &str, format: Option<Format>, cache: &Cache) -> Result<Located> {
    if let Some(entry) = catalogue::find(model) {
        let options = options(format);
        let output = cache.model(&entry.name).join(output_name(&entry.name, &options));
        if is_current(&output) {
            return Ok(Located::ModelFile(output));
        }
        let (source, key) = (fetch::ensure(entry, cache)?, entry.name.clone());
        return Ok(Located::Source(Conversion { source, output, options, key, name: Some(&entry.name) }));
    }
    let path = Path::new(model);
    if !path.exists() {
        let like_a_path = model.contains(['/', '\\'])
            || [".bin", ".gguf", ".safetensors"].iter().any(|ending| model.ends_with(ending));
        return Err(if like_a_path {
            Error::NoSuchFile { path: path.to_path_buf() }
        } else {
            catalogue::unknown(model)
        });
    }
    match (Input::open(path)?, format) {
        (Input::ModelFile(_), None) => Ok(Located::ModelFile(path.to_path_buf())),
        (Input::ModelFile(_), Some(format)) => Err(Error::Usage(format!(
            "{model} is already converted, so --format {format} cannot apply: \
             leave out --format, or give the source of the model"
        ))),
        (Input::Gguf(_) | Input::Folder(_), format) => source(path, options(format), cache),
    }
}

/// The conversion of a GGUF file or Hugging Face directory that the user gave.
fn source(path: &Path, options: QuantizeOptions, cache: &Cache) -> Result<Located> {
    let resolved = fs::canonicalize(path).map_err(Error::file("resolve", path))?;
    let name = owner(&resolved, cache);
    let (key, folder) = match name {
        Some(name) => (name.to_string(), cache.model(name)),
        None => {
            let stem = resolved.file_stem().unwrap_or_default().to_string_lossy();
            (format!("{stem}-{}", fingerprint(&resolved)?), cache.files())
        }
    };
    let output = folder.join(output_name(&key, &options));
    if is_current(&output) {
        return Ok(Located::ModelFile(output));
    }
    Ok(Located::Source(Conversion { source: path.to_path_buf(), output, options, key, name }))
}

fn options(format: Option<Format>) -> QuantizeOptions {
    let mut options = QuantizeOptions::new(format.unwrap_or(Format::Int4));
    options.tool = concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string();
    options
}

fn output_name(stem: &str, options: &QuantizeOptions) -> String {
    format!("{stem}-{}{MODEL_SUFFIX}", options.format)
}

/// The model of the catalogue whose download `path` is, or is part of.
fn owner(path: &Path, cache: &Cache) -> Option<&'static str> {
    let root = fs::canonicalize(cache.root()).ok()?;
    let mut parts = path.strip_prefix(root.join("models")).ok()?.iter();
    let entry = catalogue::find(parts.next()?.to_str()?)?;
    (parts.next()? == "source").then_some(entry.name.as_str())
}

/// Eight hexadecimal digits that depend on path, length and modification time of the file, or of all files in the
/// directory.
fn fingerprint(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut add = |path: &Path| -> Result<()> {
        let found = fs::metadata(path).map_err(Error::file("read", path))?;
        let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(found.len().to_le_bytes());
        hasher.update(modified.map_or(0, |time| time.as_nanos()).to_le_bytes());
        Ok(())
    };
    add(path)?;
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(Error::file("read", path))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        files.iter().filter(|file| file.is_file()).try_for_each(|file| add(file))?;
    }
    Ok(hasher.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}
