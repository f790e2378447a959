//! Pages of the KV cache, in which sequences reserve memory.

/// Positions of a page.
pub(super) const PAGE: usize = 64;

/// Pages that hold this many tokens.
pub(super) fn pages(tokens: usize) -> u64 {
    tokens.div_ceil(PAGE) as u64
}
