//! Threads for regions of tens of microseconds: workers that spin, then park, and take part only if they can.
//!
//! A region is over when its pieces are done, not when every worker has shown up: pieces are claimed one by
//! one, and the caller waits only for workers that are inside. So a worker that the system has put aside costs
//! nothing but its help, where a barrier would wait for its next time slice.
//!
//! A worker that the system puts aside in the middle of a piece does hold up the region, until another process's
//! time slice is over. Beside a process that keeps its core busy that would happen again and again, and cost more
//! than the help between; so such a worker is left out for a while, which grows if it happens again.
//!
//! This module starts no threads. Whoever has some (std::thread natively, Web Workers in a browser) calls
//! [`Pool::work`] in each.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Turns of the waiting loop before a worker parks: about 100 µs, longer than the gaps while decoding. A turn is
/// shorter in WebAssembly, which has no instruction that pauses a core.
const SPINS: u32 = if cfg!(target_arch = "wasm32") { 30_000 } else { 3000 };
/// Turns after which the caller lets others run while it waits for a worker.
const CALLER_SPINS: u32 = 2000;
/// Pieces of a region for each thread, so that a slow thread delays the end by little.
const PIECES: usize = 4;

/// Shortest wait of the caller that tells a worker put aside from one at work: shorter than the time slice of another
/// process. Pieces of a long prompt take longer; so twice the time that the caller was at work must have passed, too.
///
/// In WebAssembly there is no clock to tell, and nobody is left out. A count of turns in its place took a worker with a
/// prompt's piece for one put aside: two threads were as fast as one.
const STALL: Duration = Duration::from_millis(1);
/// Regions without a worker that was put aside: at first, and at most. While decoding 5 to 40 milliseconds.
const LEAVE_OUT: Range<u32> = 256..2048;
/// Regions after which that is forgotten.
const FORGET: u32 = 4096;

/// Workers that can take part.
const MAX_WORKERS: u32 = 31;
const OPEN: u64 = 1 << MAX_WORKERS;
const INSIDE: u64 = OPEN - 1;
const EPOCH: u64 = 1 << 32;

/// A region: what to do with a range, and what is left to claim.
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
            // SAFETY: the caller of the region borrows the closure until all workers have left it.
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
    /// Which workers are parked, and which are left out.
    parked: AtomicU32,
    left_out: AtomicU32,
    /// Regions until nobody is left out any more, regions that it will be next time, and regions since the last time.
    countdown: AtomicU32,
    patience: AtomicU32,
    smooth: AtomicU32,
    mutex: Mutex<()>,
    wake: Condvar,
}

impl Pool {
    /// A pool without workers yet: all work is done by the caller.
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

    /// Threads that take part, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.load(Ordering::Relaxed) + 1
    }

    /// Calls `work` with ranges that together are `0..count`, each index once, on this and the pool's threads.
    ///
    /// While one caller is in a region, others do their work alone instead of waiting.
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
        // SAFETY: only the lifetime changes; `finish` below waits until no worker can use the region any more,
        // also if `work` panics here.
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

    /// Calls `work` with each item and its index, on this and the pool's threads.
    ///
    /// # Panics
    /// As [`Pool::for_each_range`].
    pub fn for_each_mut<T: Send>(&self, items: &mut [T], work: &(dyn Fn(usize, &mut T) + Sync)) {
        let first = Items(items.as_mut_ptr());
        let first = &first;
        self.for_each_range(items.len(), &|range| {
            for index in range {
                // SAFETY: every index is handed out once, so nobody else has this item.
                work(index, unsafe { &mut *first.0.add(index) });
            }
        });
    }

    /// Counts a region, and lets workers take part again that were left out for long enough.
    fn recall(&self) {
        // One caller at a time is here, so loads and stores do.
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

    /// Leaves out the workers inside a region that all others have left for long.
    fn leave_out(&self, inside: u64) {
        self.left_out.fetch_or(inside as u32, Ordering::Relaxed);
        let patience = self.patience.load(Ordering::Relaxed);
        self.countdown.store(patience, Ordering::Relaxed);
        self.patience.store((2 * patience).min(LEAVE_OUT.end), Ordering::Relaxed);
        self.smooth.store(0, Ordering::Relaxed);
    }

    /// What a worker thread runs: takes part in regions until [`Pool::close`]. At once over for the 32nd.
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
            // Entering succeeds only while the region is open, and keeps it alive from then on.
            let entered = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now & OPEN != 0).then_some(now | u64::from(own))
            });
            if let Ok(state) = entered {
                seen = state & !(EPOCH - 1);
                let region = self.region.load(Ordering::Relaxed);
                // SAFETY: the region is open or waits for us, so its caller still holds it.
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

    /// Ends [`Pool::work`] in all threads.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.mutex.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }
}

/// Where items begin that threads share.
struct Items<T>(*mut T);
// SAFETY: each item is given to one thread.
unsafe impl<T: Send> Sync for Items<T> {}

/// The time, where there is a clock.
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
        let mut turns = 0u32;
        // When a worker that is still inside counts as put aside.
        let mut stall = None;
        loop {
            let inside = pool.state.load(Ordering::Acquire) & INSIDE;
            if inside == 0 {
                break;
            }
            turns = turns.saturating_add(1);
            if turns < CALLER_SPINS {
                std::hint::spin_loop();
                continue;
            }
            if turns == CALLER_SPINS {
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
mod tests {
    use super::*;
    use std::sync::Arc;

    fn with_workers(count: usize, test: impl FnOnce(&Pool)) {
        let pool = Arc::new(Pool::new());
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let pool = Arc::clone(&pool);
                std::thread::spawn(move || pool.work())
            })
            .collect();
        while pool.threads() != count + 1 {
            std::thread::yield_now();
        }
        test(&pool);
        pool.close();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn every_index_once() {
        for workers in 0..4 {
            with_workers(workers, |pool| {
                for count in [0, 1, 2, 7, 64, 1000] {
                    for round in 0..50 {
                        let hits: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                        pool.for_each_range(count, &|range| {
                            for index in range {
                                hits[index].fetch_add(1, Ordering::Relaxed);
                            }
                        });
                        assert!(hits.iter().all(|hits| hits.load(Ordering::Relaxed) == 1));
                        if round % 25 == 0 {
                            std::thread::sleep(Duration::from_millis(2)); // let workers park
                        }
                    }
                }
            });
        }
    }

    #[test]
    fn a_worker_put_aside_is_left_out_and_comes_back() {
        with_workers(1, |pool| {
            let caller = std::thread::current().id();
            let helps = || {
                let helped = AtomicBool::new(false);
                pool.for_each_range(8, &|_| {
                    helped.fetch_or(std::thread::current().id() != caller, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(200)); // time for the other to come
                });
                helped.into_inner()
            };
            assert!((0..100).any(|_| helps()));
            // Too long in one piece, as if another process had its core.
            while pool.left_out.load(Ordering::Relaxed) == 0 {
                pool.for_each_range(8, &|_| {
                    let worker = std::thread::current().id() != caller;
                    std::thread::sleep(Duration::from_millis(if worker { 100 } else { 1 }));
                });
            }
            assert!((1..LEAVE_OUT.start).all(|_| !helps()), "takes part although left out");
            assert!((0..100).any(|_| helps()), "does not come back");
        });
    }

    #[test]
    fn two_callers_do_not_wait_for_each_other() {
        with_workers(2, |pool| {
            pool.for_each_range(8, &|range| {
                let inner = AtomicUsize::new(0);
                pool.for_each_range(10, &|range| {
                    inner.fetch_add(range.len(), Ordering::Relaxed);
                });
                assert_eq!(inner.load(Ordering::Relaxed), 10, "in {range:?}");
            });
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        with_workers(2, |pool| {
            for _ in 0..20 {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    pool.for_each_range(64, &|range| assert!(!range.contains(&40), "on purpose"));
                }));
                assert!(result.is_err());
            }
            let sum = AtomicUsize::new(0);
            pool.for_each_range(100, &|range| {
                sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 4950);
        });
    }
}
