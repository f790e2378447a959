//! The packed weight layout: one file, memory-mapped and multiplied as it is on every vector width.
//!
//! A matrix of shape (rows M, cols K) is cut into **strips** of [`STRIP`] = 32 output rows. A strip is a
//! sequence of quantization **groups** along K; a group is its scales followed by its **blocks** of
//! [`BLOCK`] = 32 columns. Everything starts at a multiple of 64 bytes:
//!
//! ```text
//! strip:  group 0 | group 1 | ...
//! group:  scale  32 x f16 (64 bytes), one for each row
//!         min    32 x f16 (64 bytes), only if affine
//!         block 0 | block 1 | ... | block (group_size / 32 - 1), or half a block if the group size is 16
//! block:  32 rows x 32 cols of codes, bits * 128 bytes, in tiles of 4 cols (one LUT group)
//! ```
//!
//! [`Scales::SixBits`], for affine planes and nibbles, replaces the halves:
//!
//! ```text
//! strip:  row scale  32 x f16 (64 bytes)
//!         row min    32 x f16 (64 bytes)
//!         six bits of group 0 | of group 1 | ..., 48 bytes each, and zeros up to a multiple of 64 bytes
//!         blocks of group 0 | of group 1 | ...
//! six bits of a group:
//!         pairs  16 x u16 (32 bytes); of pair i, bits 0-5 are the scale of row i, bits 10-15 the scale of row 16+i,
//!                and bits 6-9 the four high bits of the minimum of row 16+i
//!         bytes  16 x u8 (16 bytes); of byte i, bits 2-7 are the minimum of row i, bits 0-1 the low bits of that of row 16+i
//! ```
//!
//! The group's scale of a row is then `row scale * scale`, its minimum `row min * minimum`: exact products, as floats.
//! Vectors of 4, 8 or 16 rows take 9 operations to separate the fields of twice as many.
//!
//! A weight is `scale * (code - zero)` (symmetric) or `scale * code + min` (affine). Ternary and binary codes are symmetric
//! with zero 1: weights are `-scale`, 0 and `scale`.
//!
//! The encodings of a block, for rows r = 0..32 and LUT groups g = 0..8 (cols 4g..4g+4):
//! - [`Encoding::Planes`] (1 to 4 bits, for lookup kernels): plane after plane, `p` = 0 the least
//!   significant bit. A plane is 8 tiles of 16 bytes. In tile g the nibble of row r holds bit `p` of the
//!   codes of cols 4g..4g+4, col 4g in its lowest bit. Byte 2i carries rows i (low nibble) and 16+i (high
//!   nibble), byte 2i+1 rows 8+i and 24+i, for i = 0..8: widening the sums of looked-up bytes separates even
//!   from odd bytes, which leaves the rows in order.
//! - [`Encoding::Ternary`] (codes 0, 1 and 2, for lookup kernels): 8 tiles of 32 bytes. Bytes 2i and 2i+1 of tile g are of
//!   rows i (low nibbles) and 16+i (high nibbles); the nibble of the first byte says which codes of cols 4g..4g+4 are above
//!   0, that of the second which are above 1, col 4g in its lowest bit. A code is the sum of its two bits.
//! - [`Encoding::Binary`] (codes 0 and 2, for lookup kernels): a plane, whose bits say which codes are 2.
//! - [`Encoding::Nibbles`] (4 bits, for dot products): 8 tiles of 64 bytes; byte 4i+j of tile g holds col
//!   4g+j of row i in its low and of row 16+i in its high nibble, i = 0..16, j = 0..4.
//! - [`Encoding::Table`] (indexes of 4 bits, for dot products): as nibbles; a code is the table's entry.
//! - [`Encoding::Split`] (2, 3, 5 or 6 bits, for dot products): two halves of 16 columns, `bits * 64` bytes each. The bits of
//!   a code are split into fields of 4, 2 and 1 bits, as many as add up to its bits, the widest from the lowest bits. A half
//!   holds field after field, the widest first, `width * 64` bytes each. Its codes form 8 runs of 64: run 2g + h has the 4
//!   columns of the half's LUT group g (0..4) in rows 16h + i, its byte 4i+j column j of row 16h + i. A field packs the
//!   bits of 8 / width runs into each 64 bytes, the first run in the lowest bits.
//! - [`Encoding::Bytes`] (8 bits, for dot products): 8 tiles of 128 bytes; byte 4r+j of tile g holds col
//!   4g+j of row r.
//!
//! Rows past M and columns past K are padding: code 0, scale 0, min 0. Activations are padded with zeros.

mod codes;
mod matrix;
mod pack;
mod shape;
mod six;
#[cfg(test)]
mod tests;

pub use crate::half::{f16_to_f32, f32_to_f16};
pub(crate) use codes::fields;
pub use codes::{BLOCK, BLOCK_WEIGHTS, Encoding, GROUPS_PER_BLOCK, GROUPS_PER_HALF, HALF, LUT_GROUP, STRIP};
pub use matrix::Matrix;
pub use pack::{pack_strip, pack_strip_six};
pub use shape::{Layout, LayoutError, MAX_DIM, Scales, Zero};
pub(crate) use six::{ROW_HALVES, SIX_BITS, six_bits};
