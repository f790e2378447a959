//! A component, compiled, linked and ready to be instantiated.

use crate::bindings::EnginePre;
use crate::compile::compile;
use crate::error::Error;
use crate::imports;
use crate::state::State;
use crate::ticker::Ticker;
use std::path::Path;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

/// What all sandboxes of a plugin share.
pub(crate) struct Compiled {
    guest: EnginePre<State>,
    ticker: Ticker,
}

impl Compiled {
    /// Compiles `component`, or loads its machine code from the directory `cache`.
    ///
    /// # Errors
    /// [`Error::Component`] if it is not a component, or imports more than a sandbox offers.
    pub(crate) fn new(component: &[u8], cache: Option<&Path>) -> Result<Self, Error> {
        let invalid = |error: wasmtime::Error| Error::Component { reason: format!("{error:#}") };
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(invalid)?;
        let component = compile(&engine, component, cache)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker).map_err(invalid)?;
        let guest = linker.instantiate_pre(&component).and_then(EnginePre::new).map_err(invalid)?;
        let ticker = Ticker::start(&engine).map_err(|source| Error::File {
            action: "start a thread for",
            path: "deadlines".into(),
            source,
        })?;
        Ok(Compiled { guest, ticker })
    }

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
