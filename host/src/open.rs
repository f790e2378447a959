//! From `--model` to a model that runs: found, downloaded and converted as needed.

use crate::cache::{self, Cache, MODEL_SUFFIX};
use crate::catalogue;
use crate::draft;
use crate::error::{Error, Result};
use crate::fetch;
use crate::input::{self, Input};
use crate::mmap;
use crate::progress;
use edgellm::format::Header;
use edgellm::{Compute, Model};
use edgellm_memory::{ModelBytes, Placement};
use edgellm_quantize::{Format, QuantizeOptions};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The model file that `model` means: a path, or a name of the catalogue. What is not there yet is
/// downloaded, and what is not converted yet is converted to `format`, int4 if not given.
///
/// # Errors
/// If there is no such model, or it cannot be had.
pub(crate) fn locate(model: &str, format: Option<Format>, cache: &Cache) -> Result<PathBuf> {
    if let Some(entry) = catalogue::find(model) {
        let folder = cache.model(&entry.name);
        let output = folder.join(output_name(&entry.name, &options(format)));
        if is_usable(&output) {
            return Ok(output);
        }
        let source = fetch::ensure(entry, cache)?;
        return convert_once(&source, &output, &options(format), cache, &entry.name);
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
    match Input::open(path)? {
        Input::ModelFile(_) => match format {
            None => Ok(path.to_path_buf()),
            Some(format) => Err(Error::Usage(format!(
                "{model} is converted already, so --format {format} cannot apply: \
                 leave --format out, or give the model's source"
            ))),
        },
        Input::Gguf(_) | Input::Folder(_) => {
            let options = options(format);
            let resolved = fs::canonicalize(path).map_err(Error::file("resolve", path))?;
            let (stem, folder) = match owner(&resolved, cache) {
                Some(name) => (name.to_string(), cache.model(name)),
                None => {
                    let stem = resolved.file_stem().unwrap_or_default().to_string_lossy();
                    (format!("{stem}-{}", key(&resolved)?), cache.files())
                }
            };
            let output = folder.join(output_name(&stem, &options));
            if is_usable(&output) {
                return Ok(output);
            }
            convert_once(path, &output, &options, cache, &stem)
        }
    }
}

/// Opens the model file at `path`, all of it verified.
///
/// # Errors
/// If it is missing or damaged.
pub(crate) fn open(path: &Path, compute: Compute, placement: Placement) -> Result<Model> {
    verified(path, load(path, placement)?, compute)
}

/// As [`open`], and says where the weights are and why.
pub(crate) fn open_described(path: &Path, placement: Placement) -> Result<(Model, String)> {
    let bytes = load(path, placement)?;
    let description = bytes.to_string();
    Ok((verified(path, bytes, Compute::default())?, description))
}

fn load(path: &Path, placement: Placement) -> Result<ModelBytes> {
    ModelBytes::load(&mmap::regular(path)?, placement).map_err(Error::file("load", path))
}

fn verified(path: &Path, bytes: ModelBytes, compute: Compute) -> Result<Model> {
    Model::with_compute(bytes, compute).map_err(|source| Error::Model { path: path.to_path_buf(), source })
}

fn options(format: Option<Format>) -> QuantizeOptions {
    let mut options = QuantizeOptions::new(format.unwrap_or(Format::Int4));
    options.tool = concat!("edgellm ", env!("CARGO_PKG_VERSION")).to_string();
    options
}

fn output_name(stem: &str, options: &QuantizeOptions) -> String {
    format!("{stem}-{}{MODEL_SUFFIX}", options.format)
}

/// Whether `path` is a model file of the version that this program reads. One of another version, left by
/// another edgellm, is made anew.
fn is_usable(path: &Path) -> bool {
    let Ok(file) = mmap::map(path) else { return false };
    let bytes = file.as_ref();
    Header::parse(bytes).is_ok_and(|header| header.file_length == bytes.len() as u64)
}

/// Converts unless another process has done so while this one waited.
fn convert_once(
    source: &Path,
    output: &Path,
    options: &QuantizeOptions,
    cache: &Cache,
    lock: &str,
) -> Result<PathBuf> {
    let _lock = cache.lock(lock)?;
    if !is_usable(output) {
        let folder = output.parent().unwrap_or(cache.root());
        cache::create_folder(folder)?;
        if folder != cache.files() {
            // In the folder for files from elsewhere this lock is not the only one.
            draft::sweep(folder);
        }
        progress::note(&format!("converting {} to {}, once", source.display(), options.format));
        let name = catalogue::find(lock).map(|entry| entry.name.as_str());
        let report = input::convert(source, output, options, name)?;
        for warning in &report.warnings {
            progress::note(&format!("warning: {warning}"));
        }
    }
    Ok(output.to_path_buf())
}

/// The catalogue's model whose download `path` is, or is in.
fn owner(path: &Path, cache: &Cache) -> Option<&'static str> {
    let root = fs::canonicalize(cache.root()).ok()?;
    let mut parts = path.strip_prefix(root.join("models")).ok()?.iter();
    let entry = catalogue::find(parts.next()?.to_str()?)?;
    (parts.next()? == "source").then_some(entry.name.as_str())
}

/// Eight hexadecimal digits that change when the file or folder does: of its path, lengths and times.
fn key(path: &Path) -> Result<String> {
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
