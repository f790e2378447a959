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

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Resident bytes of this process.
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        4096 * pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    }

    #[test]
    fn freed_blocks_go_back() {
        let mut blocks: Vec<Box<[u8; 1000]>> = (0..64_000).map(|_| Box::new([1; 1000])).collect();
        // What stays at the end keeps the heap from shrinking by itself.
        let last = blocks.pop();
        drop(blocks);
        let before = resident();
        trim();
        assert!(last.is_some_and(|last| last[999] == 1));
        assert!(resident() + (50 << 20) < before, "{} of {before} bytes stayed", resident());
    }
}
