//! Large blocks of memory: model files, mapped or copied, and huge pages for them and for buffers.
//!
//! Decoding reads every weight once per token, from memory that fits no cache. With pages of 4 KiB the processor
//! translates a quarter of a million addresses for each billion bytes; docs/experiments/huge-pages.md has what that costs.
//! Linux provides pages of 2 MiB on request: [`ModelBytes`] requests them for files, [`HugePages`] for buffers.
//!
//! ```no_run
//! use edgellm_memory::{ModelBytes, Placement};
//!
//! let file = std::fs::File::open("model.tmac2.bin")?;
//! let bytes = ModelBytes::load(&file, Placement::Auto)?;
//! println!("{} bytes: {bytes}", bytes.as_ref().len()); // such as "mapped, 92 of 98 MB in huge pages (...)"
//! # Ok::<(), std::io::Error>(())
//! ```

mod allocator;
mod file;
mod pages;
mod trim;
mod writer;

pub use allocator::HugePages;
pub use file::{MappedFile, ModelBytes, Placement};
pub use pages::{HUGE_PAGE, huge_bytes, setting};
pub use trim::trim;
pub use writer::PageWriter;
