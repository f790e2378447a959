//! A sandbox: one guest with its memory, and the calls into it.

use crate::bindings::Engine as Guest;
use crate::bindings::exports::edgellm::inference::inference as wit;
use crate::cancel::Cancel;
use crate::compiled::Compiled;
use crate::error::Error;
use crate::limits::{Limits, Meter};
use crate::state::{Bytes, State, Stopped};
use crate::system::System;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// A guest and its limits.
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
            // The start function of a module is guest code, too.
            let _ticking = compiled.ticker().run();
            compiled.guest().instantiate(&mut store)
        };
        let call_time = limits.call_time;
        match instantiated {
            Ok(guest) => Ok(Sandbox { store, guest, compiled: Arc::clone(compiled), call_time, over: None }),
            Err(error) => Err(failure(&mut store, &error, call_time)),
        }
    }

    /// Calls into the guest. A trap ends the sandbox.
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

    /// As [`Sandbox::call`], for functions that can return an error, which leaves the sandbox intact.
    pub(crate) fn try_call<T>(
        &mut self,
        call: impl FnOnce(&wit::Guest, &mut Store<State>) -> wasmtime::Result<Result<T, wit::Error>>,
    ) -> Result<T, Error> {
        let answer = self.call(call)?;
        answer.map_err(|wit::Error { code, message }| Error::Guest { code, message })
    }

    /// Drops a resource of the guest.
    pub(crate) fn drop_resource(&mut self, resource: ResourceAny) {
        // If the guest traps here or has trapped before, the sandbox is over, and its memory goes with it.
        let _ = self.call(|_, store| resource.resource_drop(store));
    }

    /// Releases the bytes that the host holds for the guest.
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

/// The error that a trap stands for, with what the guest wrote before it.
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
    // The root cause is the trap; the context above it is frames of wasm without names.
    Error::Trap { reason: error.root_cause().to_string(), output }
}
