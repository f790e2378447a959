//! What a component may import: the parts of WASI listed here, and the bytes that the host holds.
//!
//! A component that imports anything else (sockets, HTTP, the environment, timers) is refused before it runs. Waiting in
//! particular would block a host thread where no deadline reaches it.

use crate::bindings::edgellm::inference::host_files;
use crate::state::State;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::{self, cli, clocks, filesystem, random, sync};
use wasmtime_wasi::random::WasiRandom;

/// Streams and errors need the resource table only.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Adds everything that guests may import: parts of WASI, and the bytes that the host holds.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    bindings::io::error::add_to_linker::<State, HasTable>(linker, |state| state.ctx().table)?;
    sync::io::streams::add_to_linker::<State, HasTable>(linker, |state| state.ctx().table)?;
    sync::filesystem::types::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    random::random::add_to_linker::<State, WasiRandom>(linker, |state| state.system.ctx.random())?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;

    // Streams refer to pollables; the functions that wait for one are left out.
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
    clock.func_wrap("resolution", |_, (): ()| Ok((1u64,)))?;
    host_files::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}
