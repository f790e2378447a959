//! What sequences take of the memory: pages of the KV cache, and the states of recurrent layers.

use crate::runner::{RunnerError, RunnerSession};

/// Positions of a page.
pub(super) const PAGE: usize = 64;

/// Pages that hold this many tokens.
pub(super) fn pages(tokens: usize) -> u64 {
    tokens.div_ceil(PAGE) as u64
}

/// Bytes of a sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Of each page, with the snapshots of states that are taken along it.
    pub(super) page: u64,
    /// Of the states themselves, whatever the length; 0 in models without recurrent layers.
    pub(super) states: u64,
}

impl Cost {
    /// Measures with an empty session, over so many pages that a snapshot is among them.
    pub(super) fn measure(session: &mut impl RunnerSession) -> Result<Self, RunnerError> {
        const MORE: usize = 16;
        session.reserve(1)?;
        let first = session.cache_bytes();
        let more = MORE.min(session.capacity().div_ceil(PAGE) - 1);
        if more == 0 {
            return Ok(Cost { page: first, states: 0 });
        }
        session.reserve(session.capacity().min((1 + more) * PAGE))?;
        let page = (session.cache_bytes() - first).div_ceil(more as u64);
        Ok(Cost { page, states: first.saturating_sub(page) })
    }

    /// Bytes of a sequence of this many pages; nothing of one without.
    pub(super) fn bytes(self, pages: u64) -> u64 {
        if pages == 0 { 0 } else { self.states + pages * self.page }
    }
}
