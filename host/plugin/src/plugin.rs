//! A component, compiled and ready to make sandboxes of.

use crate::bindings::EnginePre;
use crate::compile::compile;
use crate::error::Error;
use crate::limits::Limits;
use crate::model::Model;
use crate::sandbox::{self, Bytes, HOST_FILE, Sandbox, State};
use crate::ticker::Ticker;
use crate::wasi;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

/// EdgeLLM's component, compiled. Clones share everything; each model that it opens is in a sandbox of its own.
#[derive(Clone)]
pub struct Plugin(Arc<Compiled>);

/// What all sandboxes of a plugin share.
pub(crate) struct Compiled {
    guest: EnginePre<State>,
    ticker: Ticker,
}

/// Where a model file comes from.
pub enum Source<'a> {
    /// A file of the folder in [`Limits::folder`], by its path in there.
    File(&'a str),
    /// Bytes that the host holds or maps; the guest reads them piece by piece, and they can go once it is open.
    Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>),
    /// So many bytes that come one after the other.
    Pieces {
        /// Gives the bytes.
        reader: &'a mut dyn Read,
        /// How many there are.
        length: u64,
    },
}

/// Bytes that are handed over at once from a reader.
const PIECE: usize = 1 << 20;

impl Plugin {
    /// Loads the component at `path` (`scripts/build-plugin` makes it). Machine code is kept in the folder `cache`, which
    /// must be writable by this user alone; a start with it loads in place of compiling.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Component`] if it is not one, or wants more than a sandbox gives.
    pub fn load(path: impl AsRef<Path>, cache: Option<&Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = |source| Error::File { action: "read", path: path.to_path_buf(), source };
        Self::from_bytes(&std::fs::read(path).map_err(file)?, cache)
    }

    /// As [`Plugin::load`], of a component in memory.
    ///
    /// # Errors
    /// [`Error::Component`].
    pub fn from_bytes(component: &[u8], cache: Option<&Path>) -> Result<Self, Error> {
        let invalid = |error: wasmtime::Error| Error::Component { reason: format!("{error:#}") };
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(invalid)?;
        let component = compile(&engine, component, cache)?;
        let mut linker = Linker::new(&engine);
        wasi::add_to_linker(&mut linker).map_err(invalid)?;
        sandbox::add_host_files(&mut linker).map_err(invalid)?;
        let guest = linker.instantiate_pre(&component).and_then(EnginePre::new).map_err(invalid)?;
        let ticker = Ticker::start(&engine).map_err(|source| Error::File {
            action: "start a thread for",
            path: "deadlines".into(),
            source,
        })?;
        Ok(Plugin(Arc::new(Compiled { guest, ticker })))
    }

    /// Opens a model in a sandbox of its own.
    ///
    /// # Errors
    /// [`Error::Guest`] if the file is not sound or not there, else the limit that it ran into.
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

fn upload(
    sandbox: &mut Sandbox,
    reader: &mut dyn Read,
    length: u64,
) -> Result<wasmtime::component::ResourceAny, Error> {
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

impl Compiled {
    pub(crate) fn engine(&self) -> &Engine {
        self.guest.engine()
    }

    pub(crate) fn guest(&self) -> &EnginePre<State> {
        &self.guest
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plugin")
    }
}
