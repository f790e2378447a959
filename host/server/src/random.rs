//! Identifiers and seeds that cannot be guessed.

use std::sync::atomic::{AtomicU64, Ordering};

/// A random number from the system, for identifiers and seeds.
pub(crate) fn random() -> u64 {
    // Should the system have no randomness, numbers are at least unique within the process.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    getrandom::u64().unwrap_or_else(|_| NEXT.fetch_add(1, Ordering::Relaxed))
}
