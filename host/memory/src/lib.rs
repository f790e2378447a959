//! Where large blocks of memory lie: files mapped or copied, and huge pages for both.
//!
//! Decoding reads every weight once a token, from memory that no cache holds. With pages of 4 KiB the processor
//! looks up a quarter of a million addresses for each billion bytes, and docs/benchmarks.md has what that costs.
//! Linux gives pages of 2 MiB where it is asked to: [`ModelBytes`] asks for files, [`HugePages`] for buffers.

mod allocator;
mod file;
mod pages;
mod writer;

pub use allocator::HugePages;
pub use file::{MappedFile, ModelBytes, Placement};
pub use pages::{HUGE_PAGE, huge_bytes, setting};
pub use writer::PageWriter;
