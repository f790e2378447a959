//! A thread pool for parallel regions of tens of microseconds: workers spin, then park, and join a region only if they are
//! in time.
//!
//! A region ends when its pieces are done, not when every worker has arrived: pieces are claimed one by one, and the caller
//! waits only for workers that are inside. So a preempted worker costs no more than its help, where a barrier would wait
//! for its next time slice.
//!
//! A worker that is preempted in the middle of a piece does delay the region, until the time slice of the other process
//! ends. Beside a process that keeps the core busy this would happen again and again, and cost more than the worker's help;
//! so such a worker is excluded for a while, and for longer each time it happens again.
//!
//! This module starts no threads. The owner of some (std::thread natively, Web Workers in a browser) calls [`Pool::work`]
//! in each.
//!
//! Measurements: docs/experiments/thread-pool.md.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Iterations of the waiting loop before a worker parks: about 100 µs, longer than the gaps while decoding. An iteration is
/// shorter in WebAssembly, which has no pause instruction.
const SPINS: u32 = if cfg!(target_arch = "wasm32") { 30_000 } else { 3000 };
/// Iterations after which a caller that waits for a worker yields its core.
const CALLER_SPINS: u32 = 2000;
/// Pieces of a region per thread, so that a slow thread delays the end by little.
const PIECES: usize = 4;

/// The shortest wait after which the caller takes a worker for preempted: shorter than the time slice of another process.
/// Pieces of a long prompt take longer, so the wait must also be twice as long as the caller's own work.
///
/// WebAssembly has no clock, so no worker is excluded there. When iterations were counted instead, workers busy with a
/// prompt's piece were taken for preempted: two threads were as fast as one.
const STALL: Duration = Duration::from_millis(1);
/// For how many regions a preempted worker is excluded: at first, and at most. While decoding, 5 to 40 milliseconds.
const LEAVE_OUT: Range<u32> = 256..2048;
/// Regions without a preempted worker after which the first number applies again.
const FORGET: u32 = 4096;

/// Most workers that can take part.
const MAX_WORKERS: u32 = 31;
const OPEN: u64 = 1 << MAX_WORKERS;
const INSIDE: u64 = OPEN - 1;
const EPOCH: u64 = 1 << 32;

/// A region: the work on a range, and what is left to claim.
struct Region {
    work: *const (dyn Fn(Range<usize>) + Sync),
    next: AtomicUsize,
    end: usize,
    piece: usize,
}

impl Region {
    fn help(&self) {
        loop {
            let start = self.next.fetch_add(self.piece, Ordering::Relaxed);
            if start >= self.end {
                return;
            }
            // SAFETY: `for_each_range` borrows the closure, and does not return or unwind before all workers have left the
            // region (`Finish`).
            unsafe { (*self.work)(start..self.end.min(start + self.piece)) };
        }
    }
}

/// Threads that share the work of regions.
#[derive(Debug, Default)]
pub struct Pool {
    /// Epoch (upper 32 bits), whether a region is open, and which workers are inside it, a bit each.
    state: AtomicU64,
    region: AtomicPtr<Region>,
    busy: AtomicBool,
    closed: AtomicBool,
    panicked: AtomicBool,
    workers: AtomicUsize,
    numbers: AtomicU32,
    /// Which workers are parked, a bit each.
    parked: AtomicU32,
    /// Which workers are excluded, a bit each.
    left_out: AtomicU32,
    /// Regions until all workers may take part again.
    countdown: AtomicU32,
    /// Regions for which the next preempted worker will be excluded.
    patience: AtomicU32,
    /// Regions since a worker was excluded.
    smooth: AtomicU32,
    mutex: Mutex<()>,
    wake: Condvar,
}

impl Pool {
    /// A pool without workers: the caller does all the work.
    pub const fn new() -> Self {
        Pool {
            state: AtomicU64::new(0),
            region: AtomicPtr::new(std::ptr::null_mut()),
            busy: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            workers: AtomicUsize::new(0),
            numbers: AtomicU32::new(0),
            parked: AtomicU32::new(0),
            left_out: AtomicU32::new(0),
            countdown: AtomicU32::new(0),
            patience: AtomicU32::new(LEAVE_OUT.start),
            smooth: AtomicU32::new(0),
            mutex: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Number of threads that take part, including the caller's.
    pub fn threads(&self) -> usize {
        self.workers.load(Ordering::Relaxed) + 1
    }

    /// Calls `work` with ranges that together are `0..count`, each index once, on this thread and the pool's.
    ///
    /// While one caller is in a region, other callers do their work alone instead of waiting.
    ///
    /// # Panics
    /// If `work` panicked on a worker.
    pub fn for_each_range(&self, count: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
        let threads = self.threads();
        if threads == 1 || count < 2 || self.busy.swap(true, Ordering::Acquire) {
            if count > 0 {
                work(0..count);
            }
            return;
        }
        // SAFETY: only the lifetime changes; `Finish` below waits until no worker can use the region any more, also if
        // `work` panics here.
        let work: *const (dyn Fn(Range<usize>) + Sync) =
            unsafe { std::mem::transmute(std::ptr::from_ref(work)) };
        let piece = (count / (threads * PIECES)).max(1);
        let region = Region { work, next: AtomicUsize::new(0), end: count, piece };
        self.region.store(std::ptr::from_ref(&region).cast_mut(), Ordering::Relaxed);
        let epoch = (self.state.load(Ordering::Relaxed) & !(EPOCH - 1)).wrapping_add(EPOCH);
        self.recall();
        self.state.store(epoch | OPEN, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) & !self.left_out.load(Ordering::Relaxed) != 0 {
            drop(self.mutex.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
        let guard = Finish { pool: self, start: now() };
        region.help();
        drop(guard);
        assert!(!self.panicked.swap(false, Ordering::Relaxed), "a worker thread panicked in a region");
    }

    /// Calls `work` with each item and its index, on this thread and the pool's.
    ///
    /// # Panics
    /// As [`Pool::for_each_range`].
    pub fn for_each_mut<T: Send>(&self, items: &mut [T], work: &(dyn Fn(usize, &mut T) + Sync)) {
        let first = Items(items.as_mut_ptr());
        let first = &first;
        self.for_each_range(items.len(), &|range| {
            for index in range {
                // SAFETY: index < items.len(), and each index is handed to one thread, which has the only reference to it.
                work(index, unsafe { &mut *first.0.add(index) });
            }
        });
    }

    /// Counts a region, and readmits workers that were excluded for long enough.
    fn recall(&self) {
        // Only one caller at a time gets here, so separate loads and stores suffice.
        let smooth = self.smooth.load(Ordering::Relaxed).saturating_add(1);
        self.smooth.store(smooth, Ordering::Relaxed);
        if smooth == FORGET {
            self.patience.store(LEAVE_OUT.start, Ordering::Relaxed);
        }
        let countdown = self.countdown.load(Ordering::Relaxed);
        if countdown > 0 {
            self.countdown.store(countdown - 1, Ordering::Relaxed);
            if countdown == 1 {
                self.left_out.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Excludes the workers that are inside a region which all others left long ago.
    fn leave_out(&self, inside: u64) {
        self.left_out.fetch_or(inside as u32, Ordering::Relaxed);
        let patience = self.patience.load(Ordering::Relaxed);
        self.countdown.store(patience, Ordering::Relaxed);
        self.patience.store((2 * patience).min(LEAVE_OUT.end), Ordering::Relaxed);
        self.smooth.store(0, Ordering::Relaxed);
    }

    /// What a worker thread runs: takes part in regions until [`Pool::close`]. Returns at once for a 32nd worker.
    pub fn work(&self) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        if number >= MAX_WORKERS {
            return;
        }
        let own = 1 << number;
        self.workers.fetch_add(1, Ordering::Relaxed);
        let mut seen = 0;
        while let Some(state) = self.wait(own, seen) {
            seen = state & !(EPOCH - 1);
            // Entering succeeds only while the region is open, and from then on keeps it alive.
            let entered = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now & OPEN != 0).then_some(now | u64::from(own))
            });
            if let Ok(state) = entered {
                seen = state & !(EPOCH - 1);
                let region = self.region.load(Ordering::Relaxed);
                // SAFETY: this worker's bit is set in `state`, so `Finish` keeps the region's caller from returning.
                let region = unsafe { &*region };
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.help())).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.state.fetch_and(!u64::from(own), Ordering::Release);
            }
        }
        self.workers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits for a region after epoch `seen` that worker `own` takes part in; `None` once the pool is closed.
    fn wait(&self, own: u32, seen: u64) -> Option<u64> {
        let ready = || {
            let state = self.state.load(Ordering::SeqCst);
            let new = state & OPEN != 0 && state & !(EPOCH - 1) != seen;
            (new && self.left_out.load(Ordering::Relaxed) & own == 0).then_some(state)
        };
        for _ in 0..SPINS {
            if let Some(state) = ready() {
                return Some(state);
            }
            if self.closed.load(Ordering::Relaxed) {
                return None;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        self.parked.fetch_or(own, Ordering::SeqCst);
        let state = loop {
            if let Some(state) = ready() {
                break Some(state);
            }
            if self.closed.load(Ordering::SeqCst) {
                break None;
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.parked.fetch_and(!own, Ordering::SeqCst);
        state
    }

    /// Makes [`Pool::work`] return in all threads.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.mutex.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }
}

/// The first of the items that threads share.
struct Items<T>(*mut T);
// SAFETY: `for_each_mut` hands each item to one thread, and items may be sent to threads.
unsafe impl<T: Send> Sync for Items<T> {}

/// The time, if there is a clock.
fn now() -> Option<Instant> {
    cfg!(not(target_arch = "wasm32")).then(Instant::now)
}

/// Closes the region, even when unwinding, and waits for the workers inside.
struct Finish<'a> {
    pool: &'a Pool,
    start: Option<Instant>,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let pool = self.pool;
        pool.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        // When a worker that is still inside is taken for preempted.
        let mut stall = None;
        loop {
            let inside = pool.state.load(Ordering::Acquire) & INSIDE;
            if inside == 0 {
                break;
            }
            spins = spins.saturating_add(1);
            if spins < CALLER_SPINS {
                std::hint::spin_loop();
                continue;
            }
            if spins == CALLER_SPINS {
                stall = self.start.map(|start| Instant::now() + STALL.max(2 * start.elapsed()));
            }
            if stall.is_some_and(|stall| Instant::now() > stall) {
                pool.leave_out(inside);
                stall = None;
            }
            std::thread::yield_now();
        }
        pool.busy.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
