//! Lookup tables: for each LUT group of 4 activations the sums of its 16 subsets.

use crate::layout::{BLOCK, GROUPS_PER_BLOCK, LUT_GROUP};

/// Bias of the entries of a lookup table: entry = 128 + subset sum, an unsigned byte.
pub(crate) const TABLE_BIAS: i32 = 128;
/// Bytes of the tables of a block.
pub(crate) const TABLE_BYTES: usize = 16 * GROUPS_PER_BLOCK;

/// For each of a group's 4 values, all bits set in the entries of the subsets that contain it.
const SUBSETS: [[u8; 16]; LUT_GROUP] = {
    let mut subsets = [[0; 16]; LUT_GROUP];
    let mut i = 0;
    while i < 64 {
        subsets[i / 16][i % 16] = if (i % 16) >> (i / 16) & 1 == 1 { 255 } else { 0 };
        i += 1;
    }
    subsets
};

/// Writes the 16 biased subset sums of each LUT group.
#[inline(always)]
pub(super) fn build_tables(values: &[i8; BLOCK], tables: &mut [u8; TABLE_BYTES]) {
    for (table, group) in tables.as_chunks_mut::<16>().0.iter_mut().zip(values.as_chunks::<LUT_GROUP>().0) {
        // Masks instead of branches, so that this compiles to vector instructions.
        let mut sums = [TABLE_BIAS as u8; 16];
        for (subset, &value) in SUBSETS.iter().zip(group) {
            for (sum, mask) in sums.iter_mut().zip(subset) {
                *sum = sum.wrapping_add(value as u8 & mask);
            }
        }
        *table = sums;
    }
}
