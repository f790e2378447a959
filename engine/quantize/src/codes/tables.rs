//! The types whose nibbles are indexes into a table of weights.

use super::{half, nibbles};

/// The code of weight 0 in [`IQ4`].
pub(super) const IQ4_ZERO: u8 = 128;
/// Q4's non-linear weights, -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89 and 113, plus 128.
pub(super) const IQ4: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// The code of weight 0 in [`FP4`].
pub(super) const FP4_ZERO: u8 = 12;
/// Twice the floats of 4 bits, 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives, plus 12.
pub(super) const FP4: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

fn look_up(table: &[u8; 16], codes: &mut [u8]) {
    for code in codes {
        *code = table[usize::from(*code & 15)];
    }
}

pub(super) fn iq4_nl(x: &[u8; 18], codes: &mut [u8; 32], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    nibbles(&x[2..], codes);
    look_up(&IQ4, codes);
}

/// A half, two bytes of the high bits and four of the low ones of 6-bit scales, 128 of nibbles.
pub(super) fn iq4_xs(x: &[u8; 136], codes: &mut [u8; 256], scales: &mut [f32; 8]) {
    let (d, high) = (half([x[0], x[1]]), u16::from_le_bytes([x[2], x[3]]));
    let groups = codes.as_chunks_mut::<32>().0.iter_mut().zip(x[8..].as_chunks::<16>().0);
    for (group, (scale, (codes, bytes))) in scales.iter_mut().zip(groups).enumerate() {
        let low = x[4 + group / 2] >> (4 * (group % 2)) & 15;
        let top = (high >> (2 * group) & 3) as u8;
        *scale = d * (f32::from(low | top << 4) - 32.0);
        nibbles(bytes, codes);
        look_up(&IQ4, codes);
    }
}

/// An exponent and nibbles.
pub(super) fn mxfp4(x: &[u8; 17], codes: &mut [u8; 32], [scale]: &mut [f32; 1]) {
    // 2^(x - 127), halved because the table is doubled; the smallest two are subnormal.
    *scale = match x[0] {
        exponent @ 0..=1 => f32::from_bits(1 << (21 + exponent)),
        exponent => f32::from_bits(u32::from(exponent - 1) << 23),
    };
    nibbles(&x[1..], codes);
    look_up(&FP4, codes);
}
