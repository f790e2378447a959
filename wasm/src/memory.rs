//! Linear memory: how much there is, and room for what is to come.
//!
//! A failed allocation deep in the engine would end the module. So large ones are tried here first, where failing
//! is an error like any other: what was reserved and given back is then there to be taken.

use crate::Failure;
use std::cell::Cell;

thread_local! {
    static LIMIT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Most bytes the module may take from here on.
pub(crate) fn set_limit(bytes: f64) {
    LIMIT.set(if bytes.is_finite() { bytes as u64 } else { u64::MAX });
}

/// Bytes of linear memory; it never shrinks.
pub(crate) fn linear_bytes() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return std::arch::wasm32::memory_size::<0>() as u64 * 65536;
    #[cfg(not(target_arch = "wasm32"))]
    0
}

/// An empty vector with room for `bytes`.
///
/// # Errors
/// `out_of_memory`, which says what needs the room.
pub(crate) fn room(bytes: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let mut room = Vec::new();
    let fits = linear_bytes().saturating_add(bytes) <= LIMIT.get()
        && usize::try_from(bytes).is_ok_and(|bytes| room.try_reserve_exact(bytes).is_ok());
    if fits {
        return Ok(room);
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "there is not enough memory for {what}: it needs {} MB more beside the {} MB in use. \
         Close other tabs, or choose a smaller model or a shorter context",
        mib(bytes),
        mib(linear_bytes()),
    );
    Err(Failure::new("out_of_memory", message))
}
