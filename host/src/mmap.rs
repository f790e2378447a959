//! Model files in memory without reading them: the one place of this program that needs `unsafe`.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;

/// The bytes of a file, mapped read-only.
#[derive(Debug)]
pub(crate) struct MappedFile(Mmap);

impl MappedFile {
    /// Maps the regular file at `path`.
    ///
    /// # Errors
    /// If there is none, or it cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> Result<Self> {
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
        // SAFETY: the mapping is private and read-only, and every byte value is a valid u8. What no program
        // can rule out is that another one shortens the file meanwhile. This program never does: it writes
        // a draft and renames it (see draft.rs), and then the mapping keeps the old file.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::file("map", path))?;
        Ok(MappedFile(map))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
