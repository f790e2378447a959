//! Tests with threads, which wasm32 cannot start.

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
fn a_preempted_worker_is_excluded_and_comes_back() {
    with_workers(1, |pool| {
        let caller = std::thread::current().id();
        let helps = || {
            let helped = AtomicBool::new(false);
            pool.for_each_range(8, &|_| {
                helped.fetch_or(std::thread::current().id() != caller, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200)); // time for the worker to arrive
            });
            helped.into_inner()
        };
        assert!((0..100).any(|_| helps()));
        // The worker takes too long for a piece, as if another process had its core.
        while pool.left_out.load(Ordering::Relaxed) == 0 {
            pool.for_each_range(8, &|_| {
                let worker = std::thread::current().id() != caller;
                std::thread::sleep(Duration::from_millis(if worker { 100 } else { 1 }));
            });
        }
        assert!((1..LEAVE_OUT.start).all(|_| !helps()), "takes part although excluded");
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
