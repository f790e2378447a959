//! Law 3: decoding a token allocates nothing. A program of its own, because the counter counts all threads.

use edgellm::testing::{recipes, seeded_model};
use edgellm::{CacheFormat, Compute, Model, Session, SessionOptions, available_kernels};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`, which is the same for `System`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` above with the same `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let formats = [CacheFormat::F16, CacheFormat::Int8];
    for (recipe, kv_cache) in recipes().into_iter().flat_map(|recipe| formats.map(|format| (recipe, format)))
    {
        for threads in [1, 2] {
            let compute = Compute::new(available_kernels()[0], threads);
            let model = Model::with_compute(seeded_model(recipe, 1).unwrap(), compute).unwrap();
            let mut session =
                Session::new(&model, SessionOptions { kv_cache, ..Default::default() }).unwrap();
            session.prefill(&[1, 2, 3]).unwrap();
            session.reserve(350).unwrap();
            // Wait for the workers to start; buffers grow once, in the first steps.
            while model.compute().pool().threads() < threads {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            for token in 0..50 {
                session.decode(token).unwrap();
            }
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            // Past the first segment of attention.
            for token in 0..250 {
                session.decode(token).unwrap();
            }
            let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
            assert_eq!(
                count, 0,
                "{count} allocations in 250 tokens of {recipe:?} {kv_cache:?} on {threads} threads"
            );
            println!("test {:?} cache {kv_cache:?} on {threads} threads ... ok", recipe.encoding);
        }
    }
    let seen = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(seen > 0, "the counter does not count");
    println!("\ntest result: ok. {} passed; 0 failed", 4 * recipes().len());
}
