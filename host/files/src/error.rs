//! Why a file, directory or program is not used.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file or directory is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It is not there.
    #[error("there is no file {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is no regular file.
    #[error("{} is {found}", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Another user owns it.
    #[error(
        "{path} belongs to another user (number {owner}), who can change it: run `chown -R {me} {path}` if you trust what is \
         in it, or use a directory of your own",
        path = path.display()
    )]
    Owner {
        /// Its path.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// The number of this program's user.
        me: u32,
    },
    /// Others may write to it.
    #[error(
        "other users can change {path} (its mode is {mode:04o}): run `chmod {remedy} {path}` if you trust what is in it",
        path = path.display()
    )]
    Writable {
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// The change that is needed.
        remedy: &'static str,
    },
    /// Links lead to each other.
    #[error("{} is one of symbolic links that lead to each other: remove it", path.display())]
    Loop {
        /// The path that was followed.
        path: PathBuf,
    },
}

impl Error {
    /// A closure for `map_err` on operations of the system.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    }
}
