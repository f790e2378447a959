//! Opening and memory-mapping files.

use crate::error::{Error, Result};
use edgellm_memory::{ModelBytes, Placement};
use std::fs::File;
use std::path::Path;

/// Maps the regular file at `path` read-only; one that another user can change is copied.
///
/// # Errors
/// If it does not exist, is not regular, can be changed by everybody, or cannot be mapped.
pub(crate) fn map(path: &Path) -> Result<ModelBytes> {
    load(&edgellm_files::open(path)?, path, Placement::Mapped)
}

/// As [`map`], placed as `placement` says.
///
/// # Errors
/// As those of [`map`].
pub(crate) fn load(file: &File, path: &Path, placement: Placement) -> Result<ModelBytes> {
    let found = file.metadata().map_err(Error::file("read", path))?;
    edgellm_files::check_public(&found, path)?;
    ModelBytes::load(file, placement).map_err(Error::file("load", path))
}
