//! Directories.

use crate::error::Error;
use crate::regular::kind;
use std::fs::{self, DirBuilder};
use std::path::Path;

/// Creates a directory and its parents, as far as they are missing, for this user alone.
///
/// # Errors
/// If the system refuses.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(Error::io("create the directory", path))
}

/// Checks that a directory and those in it hold only files, directories and symbolic links: whoever opens a named pipe
/// waits until somebody writes.
///
/// # Errors
/// If there is anything else, or a directory cannot be read.
pub fn only_files(folder: &Path) -> Result<(), Error> {
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let found = entry.file_type().map_err(Error::io("read", &entry.path()))?;
            if found.is_dir() {
                pending.push(entry.path());
            } else if !found.is_symlink()
                && let Some(found) = kind(found)
            {
                return Err(Error::NotAFile { path: entry.path(), found });
            }
        }
    }
    Ok(())
}
