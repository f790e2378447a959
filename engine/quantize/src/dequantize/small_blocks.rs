//! The types with 32 weights per block.

use super::half;

/// Nibbles: byte j holds weight j in its low and weight 16 + j in its high half.
fn nibbles(bytes: &[u8], y: &mut [f32; 32], weight: impl Fn(usize, u8) -> f32) {
    for (j, &byte) in bytes.iter().enumerate().take(16) {
        y[j] = weight(j, byte & 15);
        y[j + 16] = weight(j + 16, byte >> 4);
    }
}

pub(super) fn q4_0(x: &[u8; 18], y: &mut [f32; 32]) {
    let d = half([x[0], x[1]]);
    nibbles(&x[2..], y, |_, q| d * (f32::from(q) - 8.0));
}

pub(super) fn q4_1(x: &[u8; 20], y: &mut [f32; 32]) {
    let (d, m) = (half([x[0], x[1]]), half([x[2], x[3]]));
    nibbles(&x[4..], y, |_, q| d * f32::from(q) + m);
}

/// A nibble with its fifth bit from the bit field `high`.
fn fifth(high: u32, j: usize, q: u8) -> f32 {
    f32::from(q | ((high >> j & 1) as u8) << 4)
}

pub(super) fn q5_0(x: &[u8; 22], y: &mut [f32; 32]) {
    let d = half([x[0], x[1]]);
    let high = u32::from_le_bytes([x[2], x[3], x[4], x[5]]);
    nibbles(&x[6..], y, |j, q| d * (fifth(high, j, q) - 16.0));
}

pub(super) fn q5_1(x: &[u8; 24], y: &mut [f32; 32]) {
    let (d, m) = (half([x[0], x[1]]), half([x[2], x[3]]));
    let high = u32::from_le_bytes([x[4], x[5], x[6], x[7]]);
    nibbles(&x[8..], y, |j, q| d * fifth(high, j, q) + m);
}

pub(super) fn q8_0(x: &[u8; 34], y: &mut [f32; 32]) {
    let d = half([x[0], x[1]]);
    for (y, &q) in y.iter_mut().zip(&x[2..]) {
        *y = d * f32::from(q as i8);
    }
}
