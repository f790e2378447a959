//! The clock that stops guests: it ticks while any of them runs, and sleeps otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wasmtime::Engine;

/// How often deadlines are checked. A guest is stopped at most this late, plus the time the system takes to wake a thread.
const TICK: Duration = Duration::from_millis(5);

/// A thread that increments the epoch of an engine.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls under way.
    calls: AtomicUsize,
    over: AtomicBool,
}

/// A call under way, until dropped.
#[derive(Debug)]
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system cannot start one.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("plugin-ticker".into()).spawn(move || {
            while !seen.over.load(Ordering::Acquire) {
                if seen.calls.load(Ordering::Acquire) == 0 {
                    // A new call and the end unpark it. A stale token costs one more round.
                    thread::park();
                } else {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        })?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// Ticks until the result is dropped.
    pub(crate) fn run(&self) -> Ticking<'_> {
        if self.shared.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            self.unpark();
        }
        Ticking(&self.shared)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            drop(thread.join());
        }
    }
}
