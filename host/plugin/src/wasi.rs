//! The parts of WASI that a guest gets: reading one folder, the time, random bytes, a small standard error.
//!
//! Each is named here, so that a component which asks for anything else (sockets, HTTP, the environment, timers to wait
//! for) is refused before it runs. Waiting in particular would hold a host thread where no deadline reaches.

use crate::Error;
use crate::limits::Limits;
use crate::sandbox::State;
use std::time::Instant;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p2::{DynPollable, bindings};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiView as _};

/// Bytes of the standard error that are kept.
const STDERR: usize = 4 << 10;
/// Random bytes of a call.
const RANDOM: u64 = 4 << 10;
/// Files, streams and other handles at the same time.
const HANDLES: usize = 64;

/// What a sandbox's guest sees of the system.
pub(crate) struct System {
    pub(crate) ctx: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) stderr: MemoryOutputPipe,
    /// Where the guest's monotonic clock begins.
    start: Instant,
}

impl System {
    pub(crate) fn new(limits: &Limits) -> Result<Self, Error> {
        let stderr = MemoryOutputPipe::new(STDERR);
        let mut builder = WasiCtx::builder();
        builder.stderr(stderr.clone()).max_random_size(RANDOM).allow_blocking_current_thread(true);
        if let Some(folder) = &limits.folder {
            builder.preopened_dir(folder, ".", FsPerms::ReadOnly).map_err(|error| {
                let source = std::io::Error::other(format!("{error:#}"));
                Error::File { action: "give the sandbox the folder", path: folder.clone(), source }
            })?;
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Ok(System { ctx: builder.build(), table, stderr, start: Instant::now() })
    }
}

/// Streams and errors live in the table of resources alone.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Adds what guests may import.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::io::error::add_to_linker::<State, HasTable>(linker, |state| state.ctx().table)?;
    sync::io::streams::add_to_linker::<State, HasTable>(linker, |state| state.ctx().table)?;
    sync::filesystem::types::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    random::random::add_to_linker::<State, WasiRandom>(linker, |state| state.system.ctx.random())?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;

    // A pollable is what streams speak of; the functions that wait for one are left out.
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.resource("pollable", ResourceType::host::<DynPollable>(), |mut store, rep| {
        store.data_mut().system.table.delete(Resource::<DynPollable>::new_own(rep))?;
        Ok(())
    })?;
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    clock.func_wrap("now", |store, (): ()| {
        let elapsed = store.data().system.start.elapsed().as_nanos();
        Ok((u64::try_from(elapsed).unwrap_or(u64::MAX),))
    })?;
    clock.func_wrap("resolution", |_, (): ()| Ok((1u64,)))
}
