//! What a guest sees of the system: one directory to read, the time, random bytes, a small standard error.

use crate::error::Error;
use crate::limits::Limits;
use std::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, WasiCtx};

/// Bytes of standard error that are kept.
const STDERR: usize = 4 << 10;
/// Random bytes per call.
const RANDOM: u64 = 4 << 10;
/// Files, streams and other handles open at the same time.
const HANDLES: usize = 64;

/// The system as a guest sees it.
pub(crate) struct System {
    pub(crate) ctx: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) stderr: MemoryOutputPipe,
    /// The origin of the guest's monotonic clock.
    pub(crate) start: Instant,
}

impl System {
    pub(crate) fn new(limits: &Limits) -> Result<Self, Error> {
        let stderr = MemoryOutputPipe::new(STDERR);
        let mut builder = WasiCtx::builder();
        builder.stderr(stderr.clone()).max_random_size(RANDOM).allow_blocking_current_thread(true);
        if let Some(folder) = &limits.folder {
            // A guest that opened a pipe would wait for its other end, out of reach of its deadline.
            edgellm_files::only_files(folder)?;
            builder.preopened_dir(folder, ".", FsPerms::ReadOnly).map_err(|error| {
                let source = std::io::Error::other(format!("{error:#}"));
                Error::File { action: "open the sandbox's folder", path: folder.clone(), source }
            })?;
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Ok(System { ctx: builder.build(), table, stderr, start: Instant::now() })
    }
}
