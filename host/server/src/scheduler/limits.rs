//! The limits of a model's scheduler.

use edgellm::{CacheFormat, Precision};

/// Positions of a page of the KV cache.
pub(super) const PAGE: usize = 64;

/// What a model's scheduler may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Tokens of a sequence.
    pub(crate) context: usize,
    /// Sequences at the same time.
    pub(crate) parallel: usize,
    /// Jobs in the queue.
    pub(crate) queue: usize,
    /// Prompt tokens per step while sequences are decoding.
    pub(crate) prefill_chunk: usize,
    /// Bytes of all KV caches.
    pub(crate) kv_memory: u64,
    /// Bytes of the prefix cache.
    pub(crate) prefix_memory: u64,
    /// How finely activations are rounded.
    pub(crate) precision: Precision,
    /// How keys and values are stored.
    pub(crate) kv_cache: CacheFormat,
}

/// Pages of the KV cache that hold this many tokens.
pub(super) fn pages(tokens: usize) -> u64 {
    tokens.div_ceil(PAGE) as u64
}
