//! For the build scripts of this crate and of `server`: watching a directory for files to come.

use std::path::Path;
use std::time::SystemTime;
use std::{fs, io};

/// Creates the directory and lets cargo watch it. cargo would rebuild every time for a missing path, and once more for a
/// directory newer than this build.
pub(crate) fn watch(folder: &Path) {
    let make = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::File::open(folder)?.set_modified(SystemTime::UNIX_EPOCH)
    };
    if !folder.exists() {
        let _ = make();
    }
    println!("cargo:rerun-if-changed={}", folder.display());
}
