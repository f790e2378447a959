//! What a path holds, judged by its contents and not by its name.

use crate::error::{Error, Result};
use crate::mmap;
use edgellm_memory::MappedFile;
use std::fs;
use std::path::Path;

/// First bytes of a GGUF file.
const GGUF_MAGIC: &[u8] = b"GGUF";
/// Endings of the files of a Hugging Face directory that conversion reads.
const FOLDER_FILES: [&str; 3] = [".json", ".safetensors", ".jinja"];

/// A model as found on the disk.
pub(crate) enum Input {
    /// Anything else: presumably a model file. Opening it will tell.
    ModelFile(MappedFile),
    /// A GGUF file.
    Gguf(MappedFile),
    /// A Hugging Face directory: names and contents.
    Folder(Vec<(String, MappedFile)>),
}

impl Input {
    /// Inspects `path`.
    ///
    /// # Errors
    /// If it does not exist or cannot be a model.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return open_folder(path).map(Input::Folder);
        }
        let file = mmap::map(path)?;
        if file.as_ref().starts_with(GGUF_MAGIC) { Ok(Input::Gguf(file)) } else { Ok(Input::ModelFile(file)) }
    }
}

fn open_folder(path: &Path) -> Result<Vec<(String, MappedFile)>> {
    if !path.join("config.json").is_file() {
        let advice = "give a .tmac2.bin or .gguf file, or a Hugging Face directory, which has a config.json";
        return Err(Error::WrongKind { path: path.to_path_buf(), found: "a directory", advice });
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::file("read", path))? {
        let entry = entry.map_err(Error::file("read", path))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if FOLDER_FILES.iter().any(|ending| name.ends_with(ending)) && entry.path().is_file() {
            files.push((name, mmap::map(&entry.path())?));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}
