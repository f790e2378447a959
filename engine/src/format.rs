//! The model file `.tmac2.bin`. The specification is docs/format.md.
//!
//! ```text
//! 0   8 bytes  magic "TMAC2BIN"
//! 8   u32      version, 3 or 4
//! 12  u32      crc32 (IEEE) of the metadata
//! 16  u64      length of the metadata in bytes
//! 24  u64      length of the file in bytes
//! 32  JSON     metadata, UTF-8
//! data start = 32 + metadata length, rounded up to a multiple of 64; sections at multiples of 64 from it
//! ```
//! All numbers are little-endian; offsets in the metadata count from the data start.

mod metadata;
mod read;
mod write;

pub use metadata::{
    Metadata, Quality, Quantization, Recipe, Section, TensorEncoding, TensorEntry, TensorError, TensorScales,
};
pub(crate) use read::floats;
pub use read::{FormatError, Header, ModelFile, TensorData};
pub use write::{WriteError, Writer};

/// First 8 bytes of a model file.
pub const MAGIC: [u8; 8] = *b"TMAC2BIN";
/// The latest version, which this library writes if a tensor has six-bit scales. It reads all versions from 1 on, whose models
/// are Llama's and Qwen2's.
pub const VERSION: u32 = 4;
/// Version of files without six-bit scales, so that programs that do not know these read them.
pub const VERSION_OF_HALVES: u32 = 3;
/// Bytes before the metadata.
pub const HEADER_BYTES: usize = 32;
/// Alignment of the data start and of each section.
pub const ALIGNMENT: u64 = 64;
/// Longest metadata that is read: a bound on what a broken length can cost.
pub const MAX_METADATA_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
