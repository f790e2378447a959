//! The plugin: the compiled component, and the models that it opens.

use crate::compiled::Compiled;
use crate::error::Error;
use crate::limits::Limits;
use crate::model::Model;
use crate::sandbox::Sandbox;
use crate::state::{Bytes, HOST_FILE};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::ResourceAny;

/// EdgeLLM's component, compiled. Clones share everything. Each model that it opens gets a sandbox of its own.
#[derive(Clone)]
pub struct Plugin(Arc<Compiled>);

/// Where a model file comes from.
pub enum Source<'a> {
    /// A file in [`Limits::folder`], by its path in there.
    File(&'a str),
    /// Bytes that the host holds or maps. The guest reads them piece by piece, and the host releases them when the model
    /// is open.
    Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>),
    /// A stream of bytes.
    Pieces {
        /// The stream.
        reader: &'a mut dyn Read,
        /// Its length.
        length: u64,
    },
}

/// Bytes that are handed over at a time from a stream.
const PIECE: usize = 1 << 20;

impl Plugin {
    /// Loads the component at `path`, which `scripts/build-plugin` builds. Machine code is cached in the directory `cache`,
    /// which must be writable by this user alone; later starts load it instead of compiling.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Component`] if it is not a component or imports more than a sandbox offers, or
    /// [`Error::Unsafe`] if another user can change the cached code.
    pub fn load(path: impl AsRef<Path>, cache: Option<&Path>) -> Result<Self, Error> {
        Self::from_bytes(&edgellm_files::read(path.as_ref())?, cache)
    }

    /// As [`Plugin::load`], from a component in memory.
    ///
    /// # Errors
    /// [`Error::Component`] or [`Error::Unsafe`].
    pub fn from_bytes(component: &[u8], cache: Option<&Path>) -> Result<Self, Error> {
        Ok(Plugin(Arc::new(Compiled::new(component, cache)?)))
    }

    /// Opens a model in a sandbox of its own.
    ///
    /// # Errors
    /// [`Error::Guest`] if the file is missing or damaged, else the limit that was exceeded.
    pub fn open(&self, source: Source<'_>, limits: &Limits) -> Result<Model, Error> {
        let bytes: Option<Bytes> = match &source {
            Source::Bytes(bytes) => Some(Arc::clone(bytes)),
            _ => None,
        };
        let mut sandbox = Sandbox::new(&self.0, limits, bytes)?;
        let handle = match source {
            Source::File(path) => sandbox.try_call(|guest, store| guest.model().call_open(store, path))?,
            Source::Bytes(_) => {
                let model =
                    sandbox.try_call(|guest, store| guest.model().call_open_host_file(store, HOST_FILE))?;
                sandbox.forget_bytes();
                model
            }
            Source::Pieces { reader, length } => upload(&mut sandbox, reader, length)?,
        };
        Model::new(sandbox, handle)
    }
}

fn upload(sandbox: &mut Sandbox, reader: &mut dyn Read, length: u64) -> Result<ResourceAny, Error> {
    let upload = sandbox.try_call(|guest, store| guest.model_upload().call_begin(store, length))?;
    let mut piece = vec![0; PIECE];
    let mut left = length;
    while left > 0 {
        let wanted = left.min(PIECE as u64) as usize;
        let file = |source| Error::File { action: "read", path: "the model's pieces".into(), source };
        reader.read_exact(&mut piece[..wanted]).map_err(file)?;
        sandbox.try_call(|guest, store| guest.model_upload().call_write(store, upload, &piece[..wanted]))?;
        left -= wanted as u64;
    }
    sandbox.try_call(|guest, store| guest.model_upload().call_finish(store, upload))
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plugin")
    }
}
