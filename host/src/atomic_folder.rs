//! Directories that appear at their path only when they are complete: written beside it under another name, then renamed.
//! What a killed program leaves is hidden and called a draft.

use crate::atomic_file::{SUFFIX, sync_folder};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::output::human_bytes;
use crate::system;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// A directory that appears at its path only by [`AtomicFolder::commit`]. If it is dropped before, nothing remains.
pub(crate) struct AtomicFolder {
    draft: Option<TempDir>,
    target: PathBuf,
}

/// Checks that a directory can be made at `target`: nothing is there, or an empty directory.
///
/// # Errors
/// If something else is there, or the path has no name at its end.
pub(crate) fn check(target: &Path) -> Result<()> {
    let wrong = |found, advice| Err(Error::WrongKind { path: target.to_path_buf(), found, advice });
    if target.file_name().is_none() {
        return wrong("not the name of a directory", "give the name of a directory to write");
    }
    let Ok(found) = fs::symlink_metadata(target) else { return Ok(()) };
    if !found.is_dir() {
        return wrong("not a directory", "give the name of a directory to write, which need not exist yet");
    }
    let mut entries = fs::read_dir(target).map_err(Error::file("read", target))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => wrong("not empty", "give the name of a new directory, or remove this one first"),
    }
}

impl AtomicFolder {
    /// Starts a directory for `target`, whose parent must exist, and which will hold `bytes`.
    ///
    /// # Errors
    /// As [`check`], or if the parent cannot be written to or has too little space.
    pub(crate) fn create(target: &Path, bytes: u64) -> Result<Self> {
        check(target)?;
        let parent = parent_of(target);
        if let Some(free) = system::free_bytes(parent).filter(|&free| free < bytes) {
            let source = io::Error::new(
                io::ErrorKind::StorageFull,
                format!("it takes {}, and {} are free", human_bytes(bytes), human_bytes(free)),
            );
            return Err(Error::file("write", target)(source));
        }
        let prefix = format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy());
        let create = || builder(&prefix).tempdir_in(parent);
        let draft = interrupt::guard(create, TempDir::path).map_err(|error| {
            // The name of the draft says nothing to the user.
            let error = io::Error::from(error.kind());
            Error::file("create a directory in", parent)(error)
        })?;
        Ok(AtomicFolder { draft: Some(draft), target: target.to_path_buf() })
    }

    /// Writes the file `name` by `write`, and to the disk.
    ///
    /// # Errors
    /// Those of `write`, or if the disk refuses.
    pub(crate) fn file(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
    ) -> Result<()> {
        let path = self.target.join(name);
        let failed = || Error::file("write", &path);
        let folder = self.draft.as_ref().expect("only commit and drop take the draft").path();
        let file = create(&folder.join(name)).map_err(failed())?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        write(&mut file)?;
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed())
    }

    /// Moves the directory to its path.
    ///
    /// # Errors
    /// If the disk refuses, or something has appeared there. Then nothing remains.
    pub(crate) fn commit(mut self) -> Result<()> {
        let draft = self.draft.take().expect("only commit and drop take the draft");
        let path = draft.path().to_path_buf();
        sync_folder(&path);
        // Where a rename does not replace an empty directory.
        let rename = || {
            if cfg!(not(unix)) {
                let _ = fs::remove_dir(&self.target);
            }
            fs::rename(&path, &self.target).map(|()| draft.keep())
        };
        interrupt::forget(&path, rename).map_err(Error::file("write", &self.target))?;
        sync_folder(parent_of(&self.target));
        Ok(())
    }
}

fn builder(prefix: &str) -> Builder<'_, 'static> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As the user's umask allows, but nobody else may change the files.
        builder.permissions(fs::Permissions::from_mode(0o755));
    }
    builder
}

/// A new file. Nobody else may change it, whatever the user's umask allows.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o644);
    }
    options.open(path)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl Drop for AtomicFolder {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            let path = draft.path().to_path_buf();
            interrupt::forget(&path, || drop(draft));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn begun(target: &Path) -> AtomicFolder {
        let mut folder = AtomicFolder::create(target, 4).unwrap();
        folder.file("a", |file| file.write_all(b"text").map_err(Error::stream("write"))).unwrap();
        folder
    }

    #[test]
    fn a_dropped_directory_leaves_nothing_and_a_committed_one_only_itself() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        drop(begun(&target));
        assert_eq!(names(place.path()), [""; 0]);
        fs::create_dir(&target).unwrap();
        let folder = begun(&target);
        assert_eq!(names(place.path()).len(), 2, "beside its target");
        assert_eq!(names(&target), [""; 0]);
        folder.commit().unwrap();
        assert_eq!(names(place.path()), ["model"]);
        assert_eq!(fs::read(target.join("a")).unwrap(), b"text");
    }

    #[test]
    fn what_appears_in_the_meantime_stays() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("model");
        let folder = begun(&target);
        fs::create_dir(&target).unwrap();
        fs::write(target.join("mine"), "").unwrap();
        assert!(matches!(folder.commit(), Err(Error::File { .. })));
        assert_eq!((names(place.path()), names(&target)), (vec!["model".into()], vec!["mine".into()]));
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused_before() {
        let place = tempfile::tempdir().unwrap();
        let Err(error) = AtomicFolder::create(&place.path().join("model"), u64::MAX) else {
            panic!("there is no such disk");
        };
        let message = error.to_string();
        assert!(message.contains("are free") && message.contains("free some space"), "{message}");
        assert_eq!(names(place.path()), [""; 0]);
    }
}
