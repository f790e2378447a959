//! Clocks, random bytes and panic messages, which the standard library of `wasm32-unknown-unknown` does not provide.
#![allow(unsafe_code)]

use std::sync::Once;

/// Bytes that WASI accepts per write.
const MOST_WRITTEN: usize = 4096;

/// Writes the message of a panic to stderr, before it becomes a trap for the host.
pub fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let message = format!("{info}\n");
            // If the host closed the stream, it still sees the trap. The stream's `std::io::Write` would wait for room,
            // and so import `poll`, which a sandbox does not offer.
            let _ = wasip2::cli::stderr::get_stderr()
                .blocking_write_and_flush(&message.as_bytes()[..message.len().min(MOST_WRITTEN)]);
        }));
    });
}

/// The monotonic clock, in nanoseconds.
pub fn now_ns() -> u64 {
    wasip2::clocks::monotonic_clock::now()
}

/// The wall clock, as Unix time.
pub fn seconds_since_1970() -> u64 {
    wasip2::clocks::wall_clock::now().seconds
}

/// The random bytes of `getrandom`'s custom backend: hash tables of the tokenizer take their seeds here.
///
/// # Safety
/// `dest` must be valid for writes of `len` bytes.
// SAFETY: `getrandom` asks for exactly this name and signature, and no other function has the name.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
    let bytes = wasip2::random::random::get_random_bytes(len as u64);
    if bytes.len() != len {
        return Err(getrandom::Error::UNEXPECTED);
    }
    // SAFETY: `bytes` has `len` bytes, and this function's contract makes `dest` valid for writes of `len` bytes.
    unsafe { dest.copy_from_nonoverlapping(bytes.as_ptr(), len) };
    Ok(())
}
