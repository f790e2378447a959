//! The check that a file is a complete model file of this version.
//!
//! It reads the header only. Opening a model verifies the checksums of its sections.

use crate::error::{Error, Result};
use crate::mmap;
use edgellm::format::{FormatError, Header};
use edgellm_memory::{ModelBytes, Placement};
use std::path::{Path, PathBuf};

/// A model file in memory, with a header of this version and as long as the header says.
pub(crate) struct VerifiedFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: ModelBytes,
}

/// Maps or copies the model file at `path` and verifies its header.
///
/// # Errors
/// If it cannot be read, is not a model file of this version, or is incomplete.
pub(crate) fn verify(path: &Path, placement: Placement) -> Result<VerifiedFile> {
    let bytes = mmap::load(&edgellm_files::open(path)?, path, placement)?;
    let path = path.to_path_buf();
    match header(bytes.as_ref()) {
        Ok(()) => Ok(VerifiedFile { path, bytes }),
        Err(error) => Err(Error::Model { path, source: error.into() }),
    }
}

/// Whether the cache has a model file at `path` that this version can read. One that another version left is
/// converted again.
pub(crate) fn is_current(path: &Path) -> bool {
    mmap::map(path).is_ok_and(|file| header(file.as_ref()).is_ok())
}

fn header(bytes: &[u8]) -> std::result::Result<(), FormatError> {
    let (expected, actual) = (Header::parse(bytes)?.file_length, bytes.len() as u64);
    if expected == actual { Ok(()) } else { Err(FormatError::Length { expected, actual }) }
}
