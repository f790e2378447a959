//! Giving freed memory back to the system.

/// Gives the pages that hold no block back to the system, of all threads' heaps. Takes milliseconds.
///
/// glibc keeps what is freed in the heap of the thread that allocated it, and returns only the end of a heap. So one large
/// tree of small blocks on each of several threads stays in memory for ever. Other systems are left as they are.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
