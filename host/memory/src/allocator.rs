//! Huge pages for a program's large buffers.

use crate::pages::HUGE_PAGE;
use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, but blocks of 2 MiB and more are placed on huge pages.
///
/// ```
/// #[global_allocator]
/// static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePages;

impl HugePages {
    /// The layout to request from the system: large blocks begin at a huge page.
    fn placed(layout: Layout) -> Layout {
        if layout.size() < HUGE_PAGE || layout.align() > HUGE_PAGE {
            return layout;
        }
        // Fails only if the padded size would overflow; then the block keeps its own alignment.
        layout.align_to(HUGE_PAGE).unwrap_or(layout)
    }
}

// SAFETY: every block comes from the system's allocator and is returned with the layout it was allocated with, because
// `placed` depends only on size and alignment.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let placed = HugePages::placed(layout);
        // SAFETY: the caller promises a layout of nonzero size; `placed` has the same size.
        let block = unsafe { System.alloc(placed) };
        if placed.align() == HUGE_PAGE && !block.is_null() {
            advise(block, layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() < HUGE_PAGE {
            // SAFETY: the caller promises a layout of nonzero size.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // Writing the zeros touches the pages, so `alloc` must have requested huge pages before.
        // SAFETY: the caller promises a layout of nonzero size, and a block that is not null has `layout.size()` bytes.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `block` came from this allocator with `layout`, and `alloc` requested it from the
        // system with this same `placed` layout.
        unsafe { System.dealloc(block, HugePages::placed(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() < HUGE_PAGE && size < HUGE_PAGE {
            // SAFETY: the caller promises that `block` came from this allocator with `layout`, which is small, so the system
            // knows it by `layout` itself; `size` is small too, so the same holds afterwards.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller promises that `size` is nonzero and does not overflow with the alignment, and that `block` came from
        // this allocator with `layout`. Both blocks have at least the copied bytes, and a new block overlaps no other.
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

/// Requests huge pages for the part of a block that fills whole ones.
fn advise(block: *mut u8, size: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the range lies within a block that we own and that begins at a huge page, and the hint changes no bytes.
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
            // SAFETY: sizes are nonzero, all accesses are within them, and blocks are freed with their layouts.
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
