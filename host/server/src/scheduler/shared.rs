//! State that the server and a scheduler's thread share.

use std::sync::atomic::{AtomicBool, AtomicUsize};

/// State that the server and a scheduler's thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Jobs in the queue.
    pub(super) waiting: AtomicUsize,
    /// Jobs in prefill and sequences being decoded.
    pub(super) active: AtomicUsize,
    /// Ends all jobs and sequences at once.
    pub(super) abort: AtomicBool,
}
