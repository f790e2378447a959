//! Freed memory goes back to the system: in a process of its own, because others' memory would count.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

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
    edgellm_memory::trim();
    let after = resident();
    assert!(after + (50 << 20) < before, "{after} of {before} bytes stayed");
    assert!(last.is_some_and(|last| last[999] == 1));
}
