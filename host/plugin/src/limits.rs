//! The limits of a sandbox.

use std::path::PathBuf;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// The limits of a sandbox. A guest always has the time of day, random bytes and a few kilobytes of standard error; it
/// never has a network, an environment, arguments, or a file to write to.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of linear memory and tables. Default 2 GiB; a model needs the length of its file and about 60 MB.
    pub memory: u64,
    /// Longest time of a call: opening a model, processing a prompt, one token. Default 60 seconds.
    pub call_time: Duration,
    /// A directory that the guest may read. Default none.
    pub folder: Option<PathBuf>,
    /// Bytes that a call may pass to the host. Default 64 MiB.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 2 << 30, call_time: Duration::from_secs(60), folder: None, output: 64 << 20 }
    }
}

/// Core instances, memories and tables of a sandbox: the component needs one memory and a few of the others.
const MAX_PARTS: usize = 64;
/// Bytes per table element, at least.
const ELEMENT: usize = 8;

/// Counts the memory of a guest.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: u64,
    used: u64,
    /// What it would have used, had the last refused growth been allowed.
    pub(crate) refused: Option<u64>,
}

impl Meter {
    pub(crate) fn new(limit: u64) -> Self {
        Meter { limit, used: 0, refused: None }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes of linear memory and tables.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    fn grow(&mut self, current: usize, desired: usize, bytes: usize) -> bool {
        let more = desired.saturating_sub(current).saturating_mul(bytes) as u64;
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            self.refused = Some(wanted);
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond its own maximum it cannot grow, whatever this returns.
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired, 1))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired, ELEMENT))
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}
