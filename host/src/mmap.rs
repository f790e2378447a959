//! Opening and memory-mapping files.

use crate::error::{Error, Result};
use edgellm_memory::MappedFile;
use std::fs::File;
use std::path::Path;

/// Opens the regular file at `path`.
///
/// # Errors
/// If it does not exist, is not regular, or cannot be opened.
pub(crate) fn regular(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoSuchFile { path: path.to_path_buf() },
        _ => Error::file("read", path)(source),
    })?;
    let metadata = file.metadata().map_err(Error::file("read", path))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "not a regular file" };
        let (path, advice) = (path.to_path_buf(), "give the name of a file");
        return Err(Error::WrongKind { path, found, advice });
    }
    Ok(file)
}

/// Maps the regular file at `path` read-only.
///
/// # Errors
/// If it does not exist, is not regular, or cannot be mapped.
pub(crate) fn map(path: &Path) -> Result<MappedFile> {
    MappedFile::new(&regular(path)?).map_err(Error::file("map", path))
}
