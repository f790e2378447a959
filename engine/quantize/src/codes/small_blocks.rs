//! The types with 32 weights per block.

use super::{half, nibbles};

pub(super) fn q4_0(x: &[u8; 18], codes: &mut [u8; 32], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    nibbles(&x[2..], codes);
}

pub(super) fn q4_1(x: &[u8; 20], codes: &mut [u8; 32], [scale]: &mut [f32; 1], [min]: &mut [f32; 1]) {
    (*scale, *min) = (half([x[0], x[1]]), half([x[2], x[3]]));
    nibbles(&x[4..], codes);
}

/// Nibbles and a field of their fifth bits.
fn fives(high: [u8; 4], bytes: &[u8], codes: &mut [u8; 32]) {
    nibbles(bytes, codes);
    let high = u32::from_le_bytes(high);
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= ((high >> j & 1) as u8) << 4;
    }
}

pub(super) fn q5_0(x: &[u8; 22], codes: &mut [u8; 32], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    fives([x[2], x[3], x[4], x[5]], &x[6..], codes);
}

pub(super) fn q5_1(x: &[u8; 24], codes: &mut [u8; 32], [scale]: &mut [f32; 1], [min]: &mut [f32; 1]) {
    (*scale, *min) = (half([x[0], x[1]]), half([x[2], x[3]]));
    fives([x[4], x[5], x[6], x[7]], &x[8..], codes);
}

/// Signed bytes; a code is 128 more.
pub(super) fn q8_0(x: &[u8; 34], codes: &mut [u8; 32], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    for (code, &byte) in codes.iter_mut().zip(&x[2..]) {
        *code = byte ^ 0x80;
    }
}
