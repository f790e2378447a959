//! From a model file to a model that runs.

use super::verify::VerifiedFile;
use crate::error::{Error, Result};
use edgellm::{Compute, Model};

/// Opens a model file and verifies all of its sections.
///
/// # Errors
/// If it is damaged.
pub(crate) fn open(file: VerifiedFile, compute: Compute) -> Result<Model> {
    let VerifiedFile { path, bytes } = file;
    Model::with_compute(bytes, compute).map_err(|source| Error::Model { path, source })
}
