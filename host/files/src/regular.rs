//! Regular files, and nothing in their place.

use crate::error::Error;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// What a file that is not a regular one is; `None` for a regular one.
pub fn kind(found: FileType) -> Option<&'static str> {
    if found.is_file() {
        return None;
    }
    if found.is_dir() {
        return Some("a directory");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if found.is_fifo() {
            return Some("a named pipe, not a regular file");
        }
        if found.is_socket() {
            return Some("a socket, not a regular file");
        }
        if found.is_char_device() || found.is_block_device() {
            return Some("a device, not a regular file");
        }
    }
    Some("not a regular file")
}

/// Opens the regular file at `path` for reading. Symbolic links are followed.
///
/// # Errors
/// If it does not exist, is not a regular file, or cannot be opened.
pub fn open(path: &Path) -> Result<File, Error> {
    open_with(path, OpenOptions::new().read(true), "read")
}

/// Opens the regular file at `path` with `options`, which may create it, for this user alone; `action` is for errors.
///
/// # Errors
/// As those of [`open`].
pub fn open_with(path: &Path, options: &mut OpenOptions, action: &'static str) -> Result<File, Error> {
    let check = |found: FileType| match kind(found) {
        None => Ok(()),
        Some(found) => Err(Error::NotAFile { path: path.to_path_buf(), found }),
    };
    // Some devices do things when they are opened.
    if let Ok(found) = fs::metadata(path) {
        check(found.file_type())?;
    }
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt as _;
        // Should a pipe or a terminal have come in its place by now, opening it must not wait for the other end.
        options.mode(0o600).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    }
    let file = options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_path_buf() },
        _ => Error::io(action, path)(source),
    })?;
    check(file.metadata().map_err(Error::io(action, path))?.file_type())?;
    Ok(file)
}

/// The bytes of the regular file at `path`.
///
/// # Errors
/// As those of [`open`], or if it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// The text of the regular file at `path`.
///
/// # Errors
/// As those of [`read`], or if it is not UTF-8.
pub fn read_to_string(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text).map_err(Error::io("read", path))?;
    Ok(text)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType as Node, Mode, mknodat};
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert_eq!(read_to_string(&path("link")).unwrap(), "text");
        mknodat(CWD, path("pipe"), Node::Fifo, Mode::from(0o600), 0).unwrap();
        std::os::unix::fs::symlink("pipe", path("to-pipe")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for (path, word) in [
            (path("pipe"), "named pipe"),
            (path("to-pipe"), "named pipe"),
            (path("socket"), "socket"),
            ("/dev/null".into(), "device"),
            (folder.path().to_path_buf(), "a directory"),
        ] {
            for options in [OpenOptions::new().read(true), OpenOptions::new().append(true).create(true)] {
                let error = open_with(&path, options, "open").unwrap_err();
                assert!(matches!(&error, Error::NotAFile { found, .. } if found.contains(word)), "{error}");
            }
        }
        assert!(matches!(open(&path("nothing")), Err(Error::Missing { .. })));
    }
}
