//! A sandbox: one guest with its memory, and the calls into it.

use crate::bindings::Engine as Guest;
use crate::bindings::edgellm::inference::host_files;
use crate::bindings::exports::edgellm::inference::inference as wit;
use crate::error::Error;
use crate::limits::{Limits, Meter};
use crate::plugin::Compiled;
use crate::wasi::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::{HasSelf, ResourceAny};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtxView, WasiView};

/// Bytes of a file that the host holds.
pub(crate) type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The name under which a guest asks for them.
pub(crate) const HOST_FILE: &str = "model";
/// Most bytes that a guest gets of them at once.
const PIECE: usize = 16 << 20;

/// What belongs to a guest on the host's side.
pub(crate) struct State {
    pub(crate) system: System,
    pub(crate) meter: Meter,
    bytes: Option<Bytes>,
    cancel: Cancel,
    deadline: Instant,
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
        bytes.map(|bytes| (**bytes).as_ref()).ok_or_else(|| "the host gives no such file".to_string())
    }

    /// Looked at with every tick: whether the guest may go on.
    fn watch(&self) -> wasmtime::Result<UpdateDeadline> {
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
enum Stopped {
    #[error("cancelled")]
    Cancelled,
    #[error("its time was up")]
    Deadline,
}

/// Stops a sandbox's guest from any thread, whatever it is at. The sandbox is over then.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops the guest within a few milliseconds.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A guest, and what it may use.
pub(crate) struct Sandbox {
    store: Store<State>,
    guest: Guest,
    compiled: Arc<Compiled>,
    call_time: Duration,
    /// The error that ended it.
    over: Option<String>,
}

impl Sandbox {
    /// An instance of the component, with nothing open.
    pub(crate) fn new(
        compiled: &Arc<Compiled>,
        limits: &Limits,
        bytes: Option<Bytes>,
    ) -> Result<Self, Error> {
        let state = State {
            system: System::new(limits)?,
            meter: Meter::new(limits.memory),
            bytes,
            cancel: Cancel::default(),
            deadline: Instant::now() + limits.call_time,
        };
        let mut store = Store::new(compiled.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.epoch_deadline_callback(|store| store.data().watch());
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(limits.output);
        let instantiated = {
            // A module's start function is the guest's code already.
            let _ticking = compiled.ticker().run();
            compiled.guest().instantiate(&mut store)
        };
        let call_time = limits.call_time;
        match instantiated {
            Ok(guest) => Ok(Sandbox { store, guest, compiled: Arc::clone(compiled), call_time, over: None }),
            Err(error) => Err(failure(&mut store, &error, call_time)),
        }
    }

    /// Calls into the guest. An answer of the guest's that is an error leaves the sandbox as it is; a trap ends it.
    pub(crate) fn call<T>(
        &mut self,
        call: impl FnOnce(&wit::Guest, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Error> {
        if let Some(reason) = &self.over {
            return Err(Error::Over { reason: reason.clone() });
        }
        let state = self.store.data_mut();
        state.deadline = Instant::now() + self.call_time;
        state.meter.refused = None;
        self.store.set_epoch_deadline(1);
        let result = {
            let _ticking = self.compiled.ticker().run();
            call(self.guest.edgellm_inference_inference(), &mut self.store)
        };
        result.map_err(|error| {
            let error = failure(&mut self.store, &error, self.call_time);
            self.over = Some(error.to_string());
            error
        })
    }

    /// As [`Sandbox::call`], for functions that can answer with an error.
    pub(crate) fn try_call<T>(
        &mut self,
        call: impl FnOnce(&wit::Guest, &mut Store<State>) -> wasmtime::Result<Result<T, wit::Error>>,
    ) -> Result<T, Error> {
        let answer = self.call(call)?;
        answer.map_err(|wit::Error { code, message }| Error::Guest { code, message })
    }

    /// Gives a resource of the guest's back.
    pub(crate) fn drop_resource(&mut self, resource: ResourceAny) {
        // If the guest traps at that, or has trapped before, the sandbox is over and its memory goes with it.
        let _ = self.call(|_, store| resource.resource_drop(store));
    }

    /// Lets go of the bytes that the host holds for the guest.
    pub(crate) fn forget_bytes(&mut self) {
        self.store.data_mut().bytes = None;
    }

    pub(crate) fn cancel(&self) -> Cancel {
        self.store.data().cancel.clone()
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().meter.used()
    }
}

/// What a trap means, and what the guest said before it.
fn failure(store: &mut Store<State>, error: &wasmtime::Error, limit: Duration) -> Error {
    let state = store.data_mut();
    match error.downcast_ref::<Stopped>() {
        Some(Stopped::Cancelled) => return Error::Cancelled,
        Some(Stopped::Deadline) => return Error::Deadline { limit },
        None => {}
    }
    if let Some(wanted) = state.meter.refused {
        return Error::OutOfMemory { wanted, limit: state.meter.limit() };
    }
    let output = String::from_utf8_lossy(&state.system.stderr.contents()).into_owned();
    // The last cause is the trap; what stands before it are frames of wasm without names.
    Error::Trap { reason: error.root_cause().to_string(), output }
}

/// Adds the guest's way to the bytes that the host holds.
pub(crate) fn add_host_files(linker: &mut wasmtime::component::Linker<State>) -> wasmtime::Result<()> {
    host_files::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}
