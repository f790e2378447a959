//! Files that appear at their path only when they are complete: written to a temporary file in the same directory,
//! flushed to the disk, then renamed. On Linux the temporary file has no name until then, so that nothing is left even
//! of a program that is killed.

use crate::error::{Error, Result};
use crate::interrupt;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// Ending of temporary files. [`sweep`] removes those that a crash left behind.
pub(crate) const SUFFIX: &str = ".draft";

/// A file that appears at its path only by [`AtomicFile::commit`]. If it is dropped before, nothing remains.
pub(crate) struct AtomicFile {
    draft: Option<Draft>,
    target: PathBuf,
}

enum Draft {
    /// The system removes it when the program ends.
    Unnamed(File),
    /// Where the file system or the platform has no others.
    Named(NamedTempFile),
}

impl AtomicFile {
    /// Starts a file for `target`, whose directory must exist. A symbolic link is not followed: who put it there might have
    /// meant to have another file overwritten.
    ///
    /// # Errors
    /// If the target exists and is not a regular file, or the directory cannot be written to.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let target = target.to_path_buf();
        if let Ok(found) = fs::symlink_metadata(&target) {
            let wrong = match edgellm_files::kind(found.file_type()) {
                _ if found.is_symlink() => {
                    Some(("a symbolic link", "remove it, or give the path of the file itself"))
                }
                found => found.map(|found| (found, "give the name of a file to write")),
            };
            if let Some((found, advice)) = wrong {
                return Err(Error::WrongKind { path: target, found, advice });
            }
        }
        let Some(name) = target.file_name() else {
            let advice = "give the name of a file to write";
            return Err(Error::WrongKind { path: target, found: "not a file name", advice });
        };
        let folder = folder_of(&target);
        let draft = match unnamed(folder) {
            Some(file) => Draft::Unnamed(file),
            None => {
                let prefix = prefix(name);
                let create = || builder(&prefix).tempfile_in(folder);
                Draft::Named(
                    interrupt::guard(create, NamedTempFile::path).map_err(Error::file("write", &target))?,
                )
            }
        };
        Ok(AtomicFile { draft: Some(draft), target })
    }

    /// The file to write to.
    pub(crate) fn file(&mut self) -> &mut File {
        match self.draft.as_mut().expect("only commit and drop take the draft") {
            Draft::Unnamed(file) => file,
            Draft::Named(file) => file.as_file_mut(),
        }
    }

    /// Moves the file to its path, replacing an existing one.
    ///
    /// # Errors
    /// If the disk refuses. Then the temporary file is removed and an existing file stays.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.file().sync_all().map_err(Error::file("write", &self.target))?;
        let named = match self.draft.take().expect("only commit and drop take the draft") {
            Draft::Unnamed(file) => name(file, &self.target).map_err(Error::file("write", &self.target))?,
            Draft::Named(file) => file,
        };
        let path = named.path().to_path_buf();
        interrupt::forget(&path, || named.persist(&self.target))
            .map_err(|error| Error::file("write", &self.target)(error.error))?;
        sync_folder(folder_of(&self.target));
        Ok(())
    }
}

/// How temporary files for one called `name` begin.
fn prefix(name: &OsStr) -> String {
    format!(".{}.", name.to_string_lossy())
}

/// Names and rights of temporary files that begin with `prefix`.
fn builder(prefix: &str) -> Builder<'_, 'static> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As readable as the user's umask allows, while temporary files are private by default; but nobody else may
        // change what is converted once and trusted from then on.
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    builder
}

/// A file in `folder` that has no name, if there can be one and it can be given a name later.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(folder, flags, Mode::from_raw_mode(0o644)).ok()?);
    fs::metadata(descriptor(&file)).ok().map(|_| file)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_folder: &Path) -> Option<File> {
    None
}

/// A path to an open file.
#[cfg(target_os = "linux")]
fn descriptor(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Gives an unnamed file a temporary name beside `target`, for an instant: only a rename replaces a file.
#[cfg(target_os = "linux")]
fn name(file: File, target: &Path) -> std::io::Result<NamedTempFile> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let prefix = prefix(target.file_name().unwrap_or_default());
    let create = || {
        let link = |path: &Path| {
            linkat(CWD, descriptor(&file), CWD, path, AtFlags::SYMLINK_FOLLOW)?;
            file.try_clone()
        };
        builder(&prefix).make_in(folder_of(target), link)
    };
    interrupt::guard(create, NamedTempFile::path)
}

#[cfg(not(target_os = "linux"))]
fn name(_file: File, _target: &Path) -> std::io::Result<NamedTempFile> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Writes `bytes` to `path` as an [`AtomicFile`].
///
/// # Errors
/// Those of [`AtomicFile`], or if the disk is full.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.file().write_all(bytes).map_err(Error::file("write", path))?;
    file.commit()
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(Draft::Named(file)) = self.draft.take() {
            let path = file.path().to_path_buf();
            interrupt::forget(&path, || drop(file));
        }
    }
}

/// Makes a rename in `folder` survive a power failure, on platforms that support it.
pub(crate) fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Removes temporary files that a crash left in `folder`. The caller must hold the folder's lock.
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

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_dropped_file_leaves_nothing_and_a_committed_one_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model");
        let mut file = AtomicFile::create(&target).unwrap();
        file.file().write_all(b"half").unwrap();
        let unnamed = matches!(file.draft, Some(Draft::Unnamed(_)));
        assert_eq!(names(folder.path()).len(), usize::from(!unnamed), "in the directory of its target");
        drop(file);
        assert_eq!(names(folder.path()), [""; 0]);

        let mut file = AtomicFile::create(&target).unwrap();
        file.file().write_all(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(names(folder.path()), ["model"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_file_of_either_kind_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model");
        for named in [false, true] {
            let mut file = AtomicFile::create(&target).unwrap();
            if named {
                file.draft = Some(Draft::Named(builder(".model.").tempfile_in(folder.path()).unwrap()));
            }
            let text = format!("named: {named}");
            file.file().write_all(text.as_bytes()).unwrap();
            file.commit().unwrap();
            assert_eq!(
                (names(folder.path()), fs::read(&target).unwrap()),
                (vec!["model".to_string()], text.into())
            );
        }
    }

    #[test]
    fn directories_and_devices_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            AtomicFile::create(folder.path()),
            Err(Error::WrongKind { found: "a directory", .. })
        ));
        #[cfg(unix)]
        assert!(matches!(AtomicFile::create(Path::new("/dev/full")), Err(Error::WrongKind { .. })));
        assert!(matches!(AtomicFile::create(&folder.path().join("no/model")), Err(Error::File { .. })));
    }

    #[test]
    fn sweep_removes_temporary_files_only() {
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
