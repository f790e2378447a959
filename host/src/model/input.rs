//! What a path holds, judged by its contents and not by its name.

use super::links::Home;
use crate::error::{Error, Result};
use crate::mmap;
use edgellm_memory::ModelBytes;
use edgellm_quantize::{Mistaken, Parts, mistaken_model};
use std::fs;
use std::path::{Path, PathBuf};

/// First bytes of a GGUF file.
const GGUF_MAGIC: &[u8] = b"GGUF";
/// Endings of the files of a Hugging Face directory that conversion reads.
const FOLDER_FILES: [&str; 4] = [".json", ".model", ".safetensors", ".jinja"];
/// The file that makes a directory one of Hugging Face's.
const CONFIG: &str = "config.json";

/// A model as found on the disk.
pub(crate) enum Input {
    /// Anything else: presumably a model file. Opening it will tell.
    ModelFile(ModelBytes),
    /// A GGUF file, or the parts of a split one that are there.
    Gguf(Vec<ModelBytes>),
    /// A Hugging Face directory: names and contents.
    Folder(Vec<(String, ModelBytes)>),
}

impl Input {
    /// Inspects `path`, which [`whole`] has returned.
    ///
    /// # Errors
    /// If it does not exist or cannot be a model.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return open_folder(path).map(Input::Folder);
        }
        let file = mmap::map(path)?;
        if file.as_ref().starts_with(GGUF_MAGIC) {
            let others = parts(path).into_iter().filter(|part| part != path);
            let home = Home::new(folder_of(path), Some(path))?;
            let others = others.map(|part| gguf(&part, &home)).collect::<Result<Vec<_>>>()?;
            return Ok(Input::Gguf([file].into_iter().chain(others).collect()));
        }
        match mistaken_model(file.as_ref()) {
            Some(Mistaken { found, advice }) => {
                Err(Error::WrongKind { path: path.to_path_buf(), found, advice })
            }
            None => Ok(Input::ModelFile(file)),
        }
    }
}

/// A part of a split GGUF file.
fn gguf(path: &Path, home: &Home) -> Result<ModelBytes> {
    home.check(path)?;
    let file = mmap::map(path)?;
    if file.as_ref().starts_with(GGUF_MAGIC) {
        return Ok(file);
    }
    let unknown = Mistaken { found: "not a GGUF file", advice: "download it again" };
    let Mistaken { found, advice } = mistaken_model(file.as_ref()).unwrap_or(unknown);
    Err(Error::WrongKind { path: path.to_path_buf(), found, advice })
}

/// The path that stands for the whole model of which `path` is a part: the directory of a file with weights or settings, the
/// first part of a split GGUF file, else the path itself.
pub(crate) fn whole(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if FOLDER_FILES.iter().any(|ending| name.ends_with(ending)) && path.is_file() {
        let folder = folder_of(path);
        if folder.join(CONFIG).is_file() {
            return folder.to_path_buf();
        }
    }
    parts(path).into_iter().next().unwrap_or_else(|| path.to_path_buf())
}

/// The files that a split GGUF file consists of, as far as they are there; none if its name is not one of a part.
pub(crate) fn parts(path: &Path) -> Vec<PathBuf> {
    // Before links are followed: the hub's client keeps files under other names, and links to them.
    let stem = path.extension().is_some_and(|ending| ending == "gguf").then(|| path.file_stem()).flatten();
    let Some(parts) = stem.and_then(|stem| Parts::of(stem.to_str()?)) else { return Vec::new() };
    let files = parts.names().map(|name| path.with_file_name(format!("{name}.gguf")));
    files.filter(|file| file.is_file()).collect()
}

/// The path itself, or all files of a split GGUF file.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let parts = parts(path);
    if parts.is_empty() { vec![path.to_path_buf()] } else { parts }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn open_folder(path: &Path) -> Result<Vec<(String, ModelBytes)>> {
    if fs::symlink_metadata(path.join(CONFIG)).is_err() {
        let advice = "give a .tmac2.bin or .gguf file, or a Hugging Face directory, which has a config.json";
        return Err(Error::WrongKind { path: path.to_path_buf(), found: "a directory", advice });
    }
    let found = fs::metadata(path).map_err(Error::file("read", path))?;
    edgellm_files::check_public(&found, path)?;
    let home = Home::new(path, None)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::file("read", path))? {
        let entry = entry.map_err(Error::file("read", path))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let file = entry.path();
        if FOLDER_FILES.iter().any(|ending| name.ends_with(ending)) && !file.is_dir() {
            home.check(&file)?;
            files.push((name, mmap::map(&file)?));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}
