//! The threads of a build with shared memory: Web Workers that call [`work`].
//!
//! Each worker is an instance of the module with the same memory, so a static is the same for all.

use edgellm::{Compute, available_kernels};
use std::sync::OnceLock;
use wasm_bindgen::prelude::wasm_bindgen;

static COMPUTE: OnceLock<Compute> = OnceLock::new();

/// The module's kernels and threads.
pub(crate) fn compute() -> &'static Compute {
    COMPUTE.get_or_init(|| Compute::new(available_kernels()[0], 1))
}

/// Lends the calling worker to the engine, for good.
#[wasm_bindgen]
pub fn work() {
    compute().pool().work();
}

/// Threads that compute: this one and those that [`work`].
#[wasm_bindgen]
pub fn threads() -> usize {
    compute().threads()
}
