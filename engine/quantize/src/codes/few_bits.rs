//! The types of models that were trained for one or two bits.

use super::half;

/// 2-bit codes, four to a byte, the first in the lowest bits.
fn quarters(bytes: &[u8], codes: &mut [u8]) {
    for (codes, byte) in codes.as_chunks_mut::<4>().0.iter_mut().zip(bytes) {
        *codes = [byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6];
    }
}

pub(super) fn q2_0(x: &[u8; 18], codes: &mut [u8; 64], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    quarters(&x[2..], codes);
}

pub(super) fn pq2_0(x: &[u8; 34], codes: &mut [u8; 128], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    quarters(&x[2..], codes);
}

/// Signs: a bit stands for the code 2.
pub(super) fn q1_0(x: &[u8; 18], codes: &mut [u8; 128], [scale]: &mut [f32; 1]) {
    *scale = half([x[0], x[1]]);
    for (codes, byte) in codes.as_chunks_mut::<8>().0.iter_mut().zip(&x[2..]) {
        for (bit, code) in codes.iter_mut().enumerate() {
            *code = 2 * (byte >> bit & 1);
        }
    }
}

/// Of each 32 bytes the lowest pairs of bits, then the next, ...
pub(super) fn tq2_0(x: &[u8; 66], codes: &mut [u8; 256], [scale]: &mut [f32; 1]) {
    *scale = half([x[64], x[65]]);
    for (codes, bytes) in codes.as_chunks_mut::<128>().0.iter_mut().zip(x.as_chunks::<32>().0) {
        for (pair, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = byte >> (2 * pair) & 3;
            }
        }
    }
}

/// Trit `index` of a byte, which is a fraction of 256 in base 3.
fn trit(byte: u8, index: u32) -> u8 {
    ((u16::from(byte.wrapping_mul(3u8.wrapping_pow(index))) * 3) >> 8) as u8
}

/// Of each byte the first trit, then the second, ...: as many codes as there is room for.
fn trits(bytes: &[u8], codes: &mut [u8]) {
    for (index, codes) in (0..).zip(codes.chunks_mut(bytes.len().max(1))) {
        for (code, &byte) in codes.iter_mut().zip(bytes) {
            *code = trit(byte, index);
        }
    }
}

/// Five trits of each of 32 and of 16 bytes, four of each of 4.
pub(super) fn tq1_0(x: &[u8; 54], codes: &mut [u8; 256], [scale]: &mut [f32; 1]) {
    *scale = half([x[52], x[53]]);
    trits(&x[..32], &mut codes[..160]);
    trits(&x[32..48], &mut codes[160..240]);
    trits(&x[48..52], &mut codes[240..]);
}

/// Five trits of each of 16 and of 8 bytes, four of each of 2.
pub(super) fn ptq1_0(x: &[u8; 28], codes: &mut [u8; 128], [scale]: &mut [f32; 1]) {
    *scale = half([x[26], x[27]]);
    trits(&x[..16], &mut codes[..80]);
    trits(&x[16..24], &mut codes[80..120]);
    trits(&x[24..26], &mut codes[120..]);
}

/// Blocks of four codes to a byte, from the highest pair of bits down: of each `BYTES` bytes first all highest pairs.
pub(super) fn i2_s<const BYTES: usize>(bytes: &[u8], codes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact_mut(4 * BYTES).zip(bytes.as_chunks::<BYTES>().0) {
        for (pair, codes) in codes.as_chunks_mut::<BYTES>().0.iter_mut().enumerate() {
            for (code, byte) in codes.iter_mut().zip(bytes) {
                *code = byte >> (6 - 2 * pair) & 3;
            }
        }
    }
}
