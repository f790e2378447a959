//! The folder where models live between runs.
//!
//! ```text
//! <cache>/models/NAME/source/                 what was downloaded, complete and verified
//! <cache>/models/NAME/partial/                what is being downloaded
//! <cache>/models/NAME/NAME-int4.tmac2.bin     what was made from it
//! <cache>/files/STEM-KEY-int4.tmac2.bin       what was made from a file elsewhere
//! <cache>/plugin/                             machine code of components
//! <cache>/locks/                              one file a model, locked by whoever works on it
//! <cache>/chat-history.txt                    lines typed into `edgellm chat`
//! ```

use crate::error::{Error, Result};
use crate::progress;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Ending of a model file.
pub(crate) const MODEL_SUFFIX: &str = ".tmac2.bin";

/// The cache folder. Nothing is created before it is needed.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Exclusive right to change one model's files, until dropped; the system frees it if the process dies.
#[must_use]
pub(crate) struct Lock {
    _file: File,
}

impl Cache {
    /// `EDGELLM_HOME`, else `edgellm` in the platform's cache folder.
    ///
    /// # Errors
    /// If neither is known.
    pub(crate) fn locate() -> Result<Self> {
        let root = match std::env::var_os("EDGELLM_HOME").filter(|home| !home.is_empty()) {
            Some(home) => std::path::absolute(&home).map_err(Error::file("resolve", Path::new(&home)))?,
            None => directories::ProjectDirs::from("", "", "edgellm")
                .ok_or(Error::NoCacheFolder)?
                .cache_dir()
                .to_path_buf(),
        };
        Ok(Cache { root })
    }

    /// The cache folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that belongs to a model of the catalogue.
    pub(crate) fn model(&self, name: &str) -> PathBuf {
        self.root.join("models").join(name)
    }

    /// What was made from files outside the cache.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// Machine code of components.
    #[cfg(feature = "plugin")]
    pub(crate) fn plugin_code(&self) -> PathBuf {
        self.root.join("plugin")
    }

    /// Lines typed into the chat.
    pub(crate) fn chat_history(&self) -> PathBuf {
        self.root.join("chat-history.txt")
    }

    /// Waits until no other process works on `name`.
    ///
    /// # Errors
    /// If the cache cannot be written to.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock> {
        let folder = self.root.join("locks");
        create_folder(&folder)?;
        let path = folder.join(format!("{name}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::file("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress::note(&format!("waiting for another edgellm that works on {name} ..."));
                file.lock().map_err(Error::file("lock", &path))?;
            }
            Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path)(source)),
        }
        Ok(Lock { _file: file })
    }

    /// Model files made from `name`, sorted.
    pub(crate) fn made_from(&self, name: &str) -> Vec<PathBuf> {
        model_files(&self.model(name))
    }
}

/// The `.tmac2.bin` files in `folder`, sorted; none if there is no such folder.
pub(crate) fn model_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.') && name.ends_with(MODEL_SUFFIX)
        })
        .collect();
    files.sort();
    files
}

/// Creates a folder and those above it.
///
/// # Errors
/// If that is not possible.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::file("create the folder", path))
}

/// Removes a folder with all that is in it; it may be missing.
///
/// # Errors
/// If something in it cannot be removed.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}
