//! Huge pages for a program's large buffers.

use crate::pages::HUGE_PAGE;
use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which places what is 2 MiB or larger at huge pages.
///
/// ```
/// #[global_allocator]
/// static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePages;

impl HugePages {
    /// What the system is asked for: a large block begins at a huge page.
    fn placed(layout: Layout) -> Layout {
        if layout.size() < HUGE_PAGE || layout.align() > HUGE_PAGE {
            return layout;
        }
        // As large as a multiple of a power of two can get without overflow, which `layout` vouches for.
        layout.align_to(HUGE_PAGE).unwrap_or(layout)
    }
}

// SAFETY: every block comes from the system's allocator and goes back to it with the very layout it was taken
// with, which `placed` derives from size and alignment alone.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let placed = HugePages::placed(layout);
        // SAFETY: the caller's.
        let block = unsafe { System.alloc(placed) };
        if placed.align() == HUGE_PAGE && !block.is_null() {
            advise(block, layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() < HUGE_PAGE {
            // SAFETY: the caller's.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // Zeros are written, and pages taken, only after the system knows which are wanted.
        // SAFETY: the caller's, and a block has the size that was asked for.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's; `alloc` asked with the same layout.
        unsafe { System.dealloc(block, HugePages::placed(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() < HUGE_PAGE && size < HUGE_PAGE {
            // SAFETY: the caller's.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller vouches that `size` suits the alignment; both blocks have what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                block.copy_to_nonoverlapping(new, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Asks for huge pages for the whole ones of a block.
fn advise(block: *mut u8, size: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the range is within a block of ours that begins at a huge page, and the hint changes no bytes.
    unsafe {
        libc::madvise(block.cast(), size / HUGE_PAGE * HUGE_PAGE, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (block, size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_sizes_keep_their_bytes() {
        for (size, align) in
            [(1, 1), (HUGE_PAGE - 1, 64), (HUGE_PAGE, 8), (3 * HUGE_PAGE + 7, 64), (64, 4 << 20)]
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: sizes are not zero, and accesses within them.
            unsafe {
                let block = HugePages.alloc_zeroed(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                assert!(size < HUGE_PAGE || block.addr().is_multiple_of(HUGE_PAGE));
                assert_eq!((*block, *block.add(size - 1)), (0, 0));
                block.write(7);
                for new in [size / 2 + 1, 2 * size + HUGE_PAGE, size] {
                    let (old, mut current) =
                        (Layout::from_size_align(size, align).unwrap(), HugePages.alloc(layout));
                    current.write(9);
                    current = HugePages.realloc(current, old, new);
                    assert_eq!(*current, 9);
                    current.add(new - 1).write(1);
                    HugePages.dealloc(current, Layout::from_size_align(new, align).unwrap());
                }
                HugePages.dealloc(block, layout);
            }
        }
    }
}
