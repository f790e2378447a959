//! Who can change a file.
//!
//! What this program trusts must belong to its user, or to the superuser, and nobody else may write to it. The same holds
//! for the directories above, since whoever can write to one can put another file in place, with two exceptions: in a
//! directory like `/tmp`, which everybody may write to, the sticky bit protects each user's files from the others; and the
//! group of a directory may write to it if it is the owner's own, of the same number, as on systems that give every user
//! such a group.

use crate::error::Error;
use std::fs::{File, Metadata};
use std::path::Path;

/// Checks that no other user can change what is at `within` in `root`: the directories above `root` with the exceptions,
/// `root` and what is in it without. Symbolic links must belong to the user too, and lead to what no other user can change.
/// What does not exist yet is not checked.
///
/// # Errors
/// If another user can change it, or it cannot be examined.
pub fn check(root: &Path, within: &Path) -> Result<(), Error> {
    imp::check(root, within)
}

/// As [`check`], for a file that is open, so that no other can take its place in the meantime.
///
/// # Errors
/// If another user can change it.
pub fn check_opened(file: &File, path: &Path) -> Result<(), Error> {
    imp::fault(&file.metadata().map_err(Error::io("read", path))?, path).map_or(Ok(()), Err)
}

/// Checks that not everybody can write to the file or directory at `path` that `found` describes. A directory like `/tmp` is
/// all right.
///
/// # Errors
/// If everybody can.
pub fn check_public(found: &Metadata, path: &Path) -> Result<(), Error> {
    imp::public(found, path).map_or(Ok(()), Err)
}

/// Whether another user can change the file that `found` describes. The owner's own group counts as the owner.
pub fn others_can_change(found: &Metadata) -> bool {
    imp::fault_above(found, Path::new("")).is_some()
}

#[cfg(unix)]
mod imp {
    use super::{Error, Metadata, Path};
    use std::ffi::OsString;
    use std::fs;
    use std::io;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Component, PathBuf};

    /// Permission to write for group and others.
    const WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    /// Links to follow, as the system does.
    const MAX_LINKS: usize = 40;

    pub(super) fn fault(found: &Metadata, path: &Path) -> Option<Error> {
        stranger(found, path).or_else(|| writable(found, path))
    }

    fn stranger(found: &Metadata, path: &Path) -> Option<Error> {
        let (owner, me) = (found.uid(), rustix::process::geteuid().as_raw());
        let known = owner == me || owner == 0;
        (!known).then(|| Error::Owner { path: path.to_path_buf(), owner, me })
    }

    fn writable(found: &Metadata, path: &Path) -> Option<Error> {
        let mode = found.mode() & 0o7777;
        let remedy = if found.is_dir() { "-R go-w" } else { "go-w" };
        (mode & WRITE != 0).then(|| Error::Writable { path: path.to_path_buf(), mode, remedy })
    }

    pub(super) fn public(found: &Metadata, path: &Path) -> Option<Error> {
        let public = found.mode() & 0o002 != 0 && (found.is_file() || found.mode() & STICKY == 0);
        if public { writable(found, path) } else { None }
    }

    /// As [`fault`], with the exceptions for directories above.
    pub(super) fn fault_above(found: &Metadata, path: &Path) -> Option<Error> {
        let own_group = found.mode() & WRITE == 0o020 && found.gid() == found.uid();
        let protected = own_group || found.is_dir() && found.mode() & STICKY != 0;
        stranger(found, path).or_else(|| if protected { None } else { writable(found, path) }).map(|fault| {
            match fault {
                // What else is in there is none of our business.
                Error::Writable { path, mode, .. } => Error::Writable { path, mode, remedy: "go-w" },
                fault => fault,
            }
        })
    }

    /// A part of a path that is still to be followed.
    struct Step {
        name: OsString,
        /// Whether it is a directory above, for which the exceptions hold.
        above: bool,
    }

    /// Puts the parts of `path` on the stack, the first on top. All but the last are above.
    fn push(steps: &mut Vec<Step>, path: &Path, last_is_above: bool) {
        let names = path.components().filter(|part| *part != Component::CurDir);
        let names: Vec<OsString> = names.map(|part| part.as_os_str().to_owned()).collect();
        for (index, name) in names.into_iter().rev().enumerate() {
            steps.push(Step { name, above: index > 0 || last_is_above });
        }
    }

    pub(super) fn check(root: &Path, within: &Path) -> Result<(), Error> {
        let root = std::path::absolute(root).map_err(Error::io("resolve", root))?;
        let mut steps = Vec::new();
        for part in within.components().rev() {
            steps.push(Step { name: part.as_os_str().to_owned(), above: false });
        }
        push(&mut steps, &root, false);
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(Step { name, above }) = steps.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let found = match fs::symlink_metadata(&next) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::io("examine", &next)(error)),
            };
            let fault = if found.is_symlink() {
                stranger(&found, &next)
            } else if above {
                fault_above(&found, &next)
            } else {
                fault(&found, &next)
            };
            if let Some(fault) = fault {
                return Err(fault);
            }
            if !found.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::Loop { path: next });
            }
            let target = fs::read_link(&next).map_err(Error::io("follow", &next))?;
            push(&mut steps, &target, above);
        }
        Ok(())
    }
}

#[cfg(not(unix))]
mod imp {
    use super::{Error, Metadata, Path};

    pub(super) fn fault(_: &Metadata, _: &Path) -> Option<Error> {
        None
    }

    pub(super) fn fault_above(_: &Metadata, _: &Path) -> Option<Error> {
        None
    }

    pub(super) fn public(_: &Metadata, _: &Path) -> Option<Error> {
        None
    }

    pub(super) fn check(_: &Path, _: &Path) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::path::PathBuf;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory like `/tmp`, a cache in it, and a file in that, which is all right.
    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let cache = place.path().join("open/cache");
        fs::create_dir_all(cache.join("models")).unwrap();
        let file = cache.join("models/m");
        fs::write(&file, "").unwrap();
        for (path, mode) in
            [(place.path().join("open"), 0o1777), (cache.clone(), 0o700), (cache.join("models"), 0o700)]
        {
            set(&path, mode);
        }
        set(&file, 0o600);
        check(&cache, Path::new("models/m")).unwrap();
        (place, cache, file)
    }

    #[test]
    fn what_others_can_write_to_is_refused() {
        for (part, mode) in [
            ("open/cache/models/m", 0o602),
            ("open/cache/models/m", 0o620),
            ("open/cache/models", 0o770),
            ("open/cache", 0o777),
            // In the cache there is no exception.
            ("open/cache", 0o1777),
            ("open", 0o777),
        ] {
            let (place, cache, file) = place();
            let part = place.path().join(part);
            set(&part, mode);
            let error = check(&cache, Path::new("models/m")).unwrap_err();
            assert!(matches!(&error, Error::Writable { path, .. } if *path == part), "{part:?}: {error}");
            assert!(error.to_string().contains("chmod"), "{error}");
            let opened = check_opened(&File::open(&file).unwrap(), &file);
            assert_eq!(opened.is_err(), part == file, "{part:?}");
        }
    }

    #[test]
    fn the_owners_own_group_may_write_to_a_directory_above() {
        let (place, cache, _) = place();
        let open = place.path().join("open");
        set(&open, 0o770);
        let found = fs::metadata(&open).unwrap();
        assert_eq!(check(&cache, Path::new("")).is_ok(), found.uid() == found.gid());
    }

    #[test]
    fn what_everybody_can_write_to_is_public() {
        for (mode, file, folder) in [(0o666, true, true), (0o775, false, false), (0o1777, true, false)] {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("file");
            fs::write(&path, "").unwrap();
            for (path, public) in [(path.as_path(), file), (place.path(), folder)] {
                set(path, mode);
                assert_eq!(check_public(&fs::metadata(path).unwrap(), path).is_err(), public, "{mode:o}");
                set(place.path(), 0o700);
            }
        }
    }

    #[test]
    fn what_belongs_to_a_stranger_is_refused() {
        for part in ["open/cache/models/m", "open/cache/models", "open/cache", "open"] {
            let (place, cache, _) = place();
            let part = place.path().join(part);
            if let Err(error) = chown(&part, Some(65534), None) {
                println!("skipped: only the superuser gives files away ({error})");
                return;
            }
            let error = check(&cache, Path::new("models/m")).unwrap_err();
            assert!(matches!(&error, Error::Owner { path, owner: 65534, .. } if *path == part), "{error}");
        }
    }

    #[test]
    fn links_are_followed_to_what_they_stand_for() {
        let (place, cache, _) = place();
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        set(&elsewhere, 0o700);
        symlink(&elsewhere, cache.join("link")).unwrap();
        symlink("../open/cache", place.path().join("open/other")).unwrap();
        let other = place.path().join("open/other");
        check(&other, Path::new("link/x")).unwrap();
        set(&elsewhere, 0o707);
        assert!(matches!(check(&other, Path::new("link/x")), Err(Error::Writable { .. })));
        symlink("a", cache.join("b")).unwrap();
        symlink("b", cache.join("a")).unwrap();
        assert!(matches!(check(&cache, Path::new("a/x")), Err(Error::Loop { .. })));
        check(&place.path().join("nothing/there"), Path::new("yet")).unwrap();
    }
}
