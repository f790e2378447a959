//! Symbolic links in a model's directory.
//!
//! Who gives away a directory decides what its links lead to: a file of the user's that nobody meant to convert. So they
//! must stay in the directory, except in the hub's own cache, where `snapshots/REVISION/FILE` leads to `blobs/CHECKSUM`.

use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Directories in which the files of a model may lie.
pub(super) struct Home(Vec<PathBuf>);

impl Home {
    /// Of a directory, or, with `given`, of the files beside one that the user named: they may be links to where that is
    /// a link to.
    ///
    /// # Errors
    /// If there is no such directory.
    pub(super) fn new(folder: &Path, given: Option<&Path>) -> Result<Self> {
        let resolved = |path: &Path| fs::canonicalize(path).map_err(Error::file("resolve", path));
        let folder = resolved(folder)?;
        let mut above = folder.ancestors().skip(1);
        let snapshots = above.find(|path| path.file_name().is_some_and(|name| name == "snapshots"));
        let blobs = snapshots.and_then(Path::parent).map(|root| root.join("blobs"));
        let beside = given.map(resolved).transpose()?.and_then(|file| file.parent().map(Path::to_path_buf));
        Ok(Home([Some(folder), blobs, beside].into_iter().flatten().collect()))
    }

    /// Checks that `file`, if it is a link, leads to a file in one of them.
    ///
    /// # Errors
    /// If it leads elsewhere, or nowhere.
    pub(super) fn check(&self, file: &Path) -> Result<()> {
        let found = fs::symlink_metadata(file).map_err(Error::file("read", file))?;
        if !found.is_symlink() {
            return Ok(());
        }
        let target = fs::canonicalize(file).map_err(Error::file("follow the link", file))?;
        if self.0.iter().any(|home| target.parent() == Some(home)) {
            return Ok(());
        }
        Err(Error::LeadsOut { link: file.to_path_buf(), target })
    }
}
