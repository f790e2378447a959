//! For the build scripts of this crate and of `server`: a folder whose coming files cargo is to notice.

use std::path::Path;
use std::time::SystemTime;
use std::{fs, io};

/// Makes the folder and has cargo watch it. For a path that is not there cargo would build the program anew each time, and
/// for a folder newer than this run once more; where none can be made, it does.
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
