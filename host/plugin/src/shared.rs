//! What a model, its sessions and its batches share.

use crate::bindings::exports::edgellm::inference::inference::ModelInfo;
use crate::cancel::Cancel;
use crate::sandbox::Sandbox;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wasmtime::component::ResourceAny;

/// The sandbox, and the model in it.
pub(crate) struct Shared {
    pub(crate) sandbox: Mutex<Sandbox>,
    pub(crate) model: ResourceAny,
    pub(crate) info: ModelInfo,
    pub(crate) cancel: Cancel,
}

impl Shared {
    /// Waits for its turn.
    pub(crate) fn sandbox(&self) -> MutexGuard<'_, Sandbox> {
        // A panic of the host leaves no call half-done: wasmtime would not let the instance be entered again.
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
