//! The model cache: the directory that keeps models between runs.
//!
//! ```text
//! <cache>/models/NAME/source/                 the download, complete and verified; hf:OWNER/REPO is hf=OWNER,REPO here
//! <cache>/models/NAME/partial/                an incomplete download
//! <cache>/models/NAME/NAME-v3-auto.tmac2.bin  a model file converted from it, by version 3 of the rules
//! <cache>/files/STEM-PATH-STATE-auto.tmac2.bin
//!                                             a model file converted from a file elsewhere (model/key.rs)
//! <cache>/plugin/                             machine code of components
//! <cache>/locks/                              one file per model, locked by the process that changes it
//! <cache>/chat-history.txt                    lines typed into `edgellm chat`
//! <cache>/last-model.txt                      the model used last
//! <cache>/speed.json                          how fast this machine reads weights (speed.rs)
//! ```

use crate::atomic_file;
use crate::error::{Error, Result};
use crate::progress;
use crate::reference::PREFIX;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Ending of a model file.
pub(crate) const MODEL_SUFFIX: &str = ".tmac2.bin";

/// The cache directory. Nothing is created before it is needed.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The exclusive right to change the files of one model, until dropped. The system releases it if the process dies.
#[must_use]
pub(crate) struct Lock {
    _file: File,
}

impl Cache {
    /// `EDGELLM_HOME`, or `edgellm` in the platform's cache directory.
    ///
    /// # Errors
    /// If there is neither, or `EDGELLM_HOME` is relative: whoever made the working directory would have made the cache.
    pub(crate) fn locate() -> Result<Self> {
        let root = match std::env::var_os("EDGELLM_HOME").filter(|home| !home.is_empty()) {
            Some(home) if Path::new(&home).is_absolute() => PathBuf::from(home),
            Some(home) => return Err(Error::RelativeCache { path: home.into() }),
            None => directories::ProjectDirs::from("", "", "edgellm")
                .ok_or(Error::NoCacheFolder)?
                .cache_dir()
                .to_path_buf(),
        };
        Ok(Cache { root })
    }

    /// Checks that no other user can change what is at `path` in the cache, nor put something else in its place.
    ///
    /// # Errors
    /// If another user can.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let within = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        Ok(edgellm_files::check(&self.root, within)?)
    }

    /// The cache directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that belongs to a model of the catalogue or the hub.
    pub(crate) fn model(&self, name: &str) -> PathBuf {
        self.root.join("models").join(file_name(name))
    }

    /// The names of the models of the hub that are there, or begun, sorted.
    pub(crate) fn hub_models(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join("models")) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.map(|name| model_name(&name)).filter(|name| name.starts_with(PREFIX)).collect();
        names.sort();
        names
    }

    /// Model files converted from files outside the cache.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// Machine code of components.
    #[cfg(feature = "plugin")]
    pub(crate) fn plugin_code(&self) -> PathBuf {
        self.root.join("plugin")
    }

    /// The input history of `edgellm chat`.
    pub(crate) fn chat_history(&self) -> PathBuf {
        self.root.join("chat-history.txt")
    }

    /// The name of the model used last.
    pub(crate) fn last_model(&self) -> PathBuf {
        self.root.join("last-model.txt")
    }

    /// How fast this machine was measured to be.
    pub(crate) fn speed(&self) -> PathBuf {
        self.root.join("speed.json")
    }

    /// A small text that [`Cache::keep`] left, unless another user can change it.
    pub(crate) fn recall(&self, path: &Path) -> Option<String> {
        self.check(path).ok()?;
        edgellm_files::read_to_string(path).ok()
    }

    /// Keeps a small text that the program can do without: a cache that cannot be written to keeps nothing.
    pub(crate) fn keep(&self, path: &Path, text: &str) {
        if self.check(&self.root).is_ok() && create_folder(&self.root).is_ok() {
            let _ = atomic_file::write(path, text.as_bytes());
        }
    }

    /// Locks `name`; waits while another process holds the lock.
    ///
    /// # Errors
    /// If the cache cannot be written to.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock> {
        let folder = self.root.join("locks");
        self.check(&folder)?;
        create_folder(&folder)?;
        let path = folder.join(format!("{}.lock", file_name(name)));
        let mut options = File::options();
        let file =
            edgellm_files::open_with(&path, options.create(true).truncate(false).write(true), "write")?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress::note(&format!("waiting for another edgellm process to finish with {name} ..."));
                file.lock().map_err(Error::file("lock", &path))?;
            }
            Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path)(source)),
        }
        Ok(Lock { _file: file })
    }

    /// Model files converted from the model `name`, sorted.
    pub(crate) fn made_from(&self, name: &str) -> Vec<PathBuf> {
        model_files(&self.model(name))
    }
}

/// What a model is called where only the name of a file can be: names of the hub's models have `:` and `/`, but no `=` and
/// no `,`.
pub(crate) fn file_name(name: &str) -> String {
    name.replace(':', "=").replace('/', ",")
}

/// The model of which [`file_name`] is the file's name.
pub(crate) fn model_name(file_name: &str) -> String {
    file_name.replace('=', ":").replace(',', "/")
}

/// The `.tmac2.bin` files in `folder`, sorted; none if there is no such directory.
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

/// Creates a directory and its parents, for this user alone.
///
/// # Errors
/// If the system refuses.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    Ok(edgellm_files::create_folder(path)?)
}

/// Removes a directory and its contents, if it exists.
///
/// # Errors
/// If something in it cannot be removed.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}
