//! What the host keeps for a sandbox: its system, its limits, and the file that it may read from memory.

use crate::bindings::edgellm::inference::host_files;
use crate::cancel::Cancel;
use crate::limits::Meter;
use crate::system::System;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::UpdateDeadline;
use wasmtime_wasi::{WasiCtxView, WasiView};

/// Bytes of a file that the host holds.
pub(crate) type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The name under which the guest opens them.
pub(crate) const HOST_FILE: &str = "model";
/// Bytes that the guest gets per read, at most.
const PIECE: usize = 16 << 20;

/// The host's data of one sandbox.
pub(crate) struct State {
    pub(crate) system: System,
    pub(crate) meter: Meter,
    pub(crate) bytes: Option<Bytes>,
    pub(crate) cancel: Cancel,
    /// When the call under way is stopped.
    pub(crate) deadline: Instant,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.system.ctx, table: &mut self.system.table }
    }
}

impl host_files::Host for State {
    fn size(&mut self, name: String) -> Result<u64, String> {
        self.file(&name).map(|bytes| bytes.len() as u64)
    }

    fn read_at(&mut self, name: String, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        let bytes = self.file(&name)?;
        let beyond = || format!("there are only {} bytes", bytes.len());
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).ok_or_else(beyond)?;
        Ok(rest[..rest.len().min(length as usize).min(PIECE)].to_vec())
    }
}

impl State {
    fn file(&self, name: &str) -> Result<&[u8], String> {
        let bytes = self.bytes.as_ref().filter(|_| name == HOST_FILE);
        bytes.map(|bytes| (**bytes).as_ref()).ok_or_else(|| "the host has no such file".to_string())
    }

    /// Whether the guest may continue; checked with every tick of the epoch.
    pub(crate) fn watch(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.cancel.is_cancelled() {
            return Err(Stopped::Cancelled.into());
        }
        if Instant::now() >= self.deadline {
            return Err(Stopped::Deadline.into());
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// Why the host stopped a guest.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("cancelled")]
    Cancelled,
    #[error("its time was up")]
    Deadline,
}
