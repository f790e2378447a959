//! Six-bit scales: where the bits of a group lie. The [module](super) shows the bytes.

use super::codes::STRIP;

/// Bytes of the scales and minimums of a strip's rows.
pub(crate) const ROW_HALVES: usize = 4 * STRIP;

/// Bytes of a group's six-bit scales and minimums.
pub(crate) const SIX_BITS: usize = STRIP * 12 / 8;

/// Rows whose bits begin in a byte of their own; those of the other rows fill the gaps.
const LOW: usize = STRIP / 2;

/// Writes the scale and the minimum of row `r`, each below 64, into zeroed bytes.
pub(super) fn put_six(group: &mut [u8; SIX_BITS], r: usize, [scale, min]: [u8; 2]) {
    let i = r % LOW;
    let (pair, single) = if r < LOW {
        (u16::from(scale), min << 2)
    } else {
        (u16::from(scale) << 10 | u16::from(min >> 2) << 6, min & 3)
    };
    let [low, high] = pair.to_le_bytes();
    group[2 * i] |= low;
    group[2 * i + 1] |= high;
    group[STRIP + i] |= single;
}

/// Reads the scale and the minimum of row `r`.
pub(super) fn get_six(group: &[u8; SIX_BITS], r: usize) -> [i32; 2] {
    let i = r % LOW;
    let [low, high] = six_bits([group[2 * i], group[2 * i + 1]], group[STRIP + i]);
    if r < LOW { low } else { high }
}

/// The scale and the minimum of row i, then those of row 16 + i (i = 0..16), from their pair and byte. Kernels read all rows
/// in this way, in vectors of integers that become floats.
#[inline(always)]
pub(crate) fn six_bits(pair: [u8; 2], byte: u8) -> [[i32; 2]; 2] {
    let (pair, byte) = (i32::from(u16::from_le_bytes(pair)), i32::from(byte));
    [[pair & 63, byte >> 2], [pair >> 10, pair >> 4 & 0x3c | byte & 3]]
}
