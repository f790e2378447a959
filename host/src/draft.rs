//! Writing a file so that it is never seen half-written: a draft in the same folder, flushed to the disk,
//! then renamed.

use crate::error::{Error, Result};
use crate::interrupt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// Ending of drafts. One that a crash left behind is removed by [`sweep`].
const SUFFIX: &str = ".draft";

/// A file that appears at its place only by [`Draft::commit`]; dropped before, it leaves nothing.
pub(crate) struct Draft {
    temporary: Option<NamedTempFile>,
    target: PathBuf,
}

impl Draft {
    /// Starts a file for `target`, in its folder, which must be there. A link is followed.
    ///
    /// # Errors
    /// If the target is there and no regular file, or the folder cannot be written to.
    pub(crate) fn new(target: &Path) -> Result<Self> {
        let target = match fs::metadata(target) {
            Err(_) => target.to_path_buf(),
            Ok(found) if found.is_file() => {
                fs::canonicalize(target).map_err(Error::file("resolve", target))?
            }
            Ok(found) => {
                let (path, advice) = (target.to_path_buf(), "give the name of a file to write");
                let found = if found.is_dir() { "a directory" } else { "not a regular file" };
                return Err(Error::WrongKind { path, found, advice });
            }
        };
        let Some(name) = target.file_name() else {
            let advice = "give the name of a file to write";
            return Err(Error::WrongKind { path: target, found: "not a file name", advice });
        };
        let folder = folder_of(&target);
        let prefix = format!(".{}.", name.to_string_lossy());
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // Readable as far as the user's umask allows, not only by the owner as temporary files are.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = interrupt::guard(|| builder.tempfile_in(folder), NamedTempFile::path)
            .map_err(Error::file("write", &target))?;
        Ok(Draft { temporary: Some(temporary), target })
    }

    /// The file to write to.
    pub(crate) fn file(&mut self) -> &mut File {
        self.temporary.as_mut().expect("there until commit takes the draft").as_file_mut()
    }

    /// Puts the file at its place, replacing what is there.
    ///
    /// # Errors
    /// If the disk refuses; then nothing is left of the draft, and what was there stays.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.file().sync_all().map_err(Error::file("write", &self.target))?;
        let temporary = self.temporary.take().expect("there until commit takes the draft");
        let path = temporary.path().to_path_buf();
        interrupt::forget(&path, || temporary.persist(&self.target))
            .map_err(|error| Error::file("write", &self.target)(error.error))?;
        sync_folder(folder_of(&self.target));
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.path().to_path_buf();
            interrupt::forget(&path, || drop(temporary));
        }
    }
}

/// Makes a rename in `folder` last through a power cut, where the platform can.
pub(crate) fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Removes drafts that a crash left in `folder`. Call it holding the folder's lock.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(SUFFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_dropped_draft_leaves_nothing_and_a_committed_one_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model");
        let mut draft = Draft::new(&target).unwrap();
        draft.file().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 1, "the draft is beside its target");
        drop(draft);
        assert_eq!(names(folder.path()), [""; 0]);

        let mut draft = Draft::new(&target).unwrap();
        draft.file().write_all(b"whole").unwrap();
        draft.commit().unwrap();
        assert_eq!(names(folder.path()), ["model"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn directories_and_devices_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Draft::new(folder.path()), Err(Error::WrongKind { found: "a directory", .. })));
        #[cfg(unix)]
        assert!(matches!(Draft::new(Path::new("/dev/full")), Err(Error::WrongKind { .. })));
        assert!(matches!(Draft::new(&folder.path().join("no/model")), Err(Error::File { .. })));
    }

    #[test]
    fn sweep_removes_drafts_only() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".model.x1.draft", "model", "notes.draft"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(folder.path());
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, ["model", "notes.draft"]);
    }
}
