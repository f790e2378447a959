//! Every source type to f32, row by row.
//!
//! Written from the definition of the formats; the tests compare with the reference implementation, the Python
//! package `gguf`, bit for bit.

mod k_blocks;
mod small_blocks;

use crate::gguf::GgmlType;

/// Dequantizes `bytes`, whole blocks of type `ggml_type`.
///
/// Returns `false`, with `out` unspecified, if the lengths of `bytes` and `out` do not match.
#[must_use]
pub fn dequantize(ggml_type: GgmlType, bytes: &[u8], out: &mut [f32]) -> bool {
    if ggml_type.row_bytes(out.len()) != Some(bytes.len()) {
        return false;
    }
    match ggml_type {
        GgmlType::F32 => blocks(bytes, out, |x: &[u8; 4], [y]: &mut [f32; 1]| *y = f32::from_le_bytes(*x)),
        GgmlType::F16 => blocks(bytes, out, |x: &[u8; 2], [y]: &mut [f32; 1]| *y = half(*x)),
        GgmlType::BF16 => blocks(bytes, out, |&[a, b]: &[u8; 2], [y]: &mut [f32; 1]| {
            *y = f32::from_le_bytes([0, 0, a, b]);
        }),
        GgmlType::Q4_0 => blocks(bytes, out, small_blocks::q4_0),
        GgmlType::Q4_1 => blocks(bytes, out, small_blocks::q4_1),
        GgmlType::Q5_0 => blocks(bytes, out, small_blocks::q5_0),
        GgmlType::Q5_1 => blocks(bytes, out, small_blocks::q5_1),
        GgmlType::Q8_0 => blocks(bytes, out, small_blocks::q8_0),
        GgmlType::Q2_K => blocks(bytes, out, k_blocks::q2),
        GgmlType::Q3_K => blocks(bytes, out, k_blocks::q3),
        GgmlType::Q4_K => blocks(bytes, out, k_blocks::q4),
        GgmlType::Q5_K => blocks(bytes, out, k_blocks::q5),
        GgmlType::Q6_K => blocks(bytes, out, k_blocks::q6),
    }
    true
}

fn blocks<const BYTES: usize, const WEIGHTS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; WEIGHTS]),
) {
    for (from, to) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        block(from, to);
    }
}

/// A little-endian half-precision float; infinities and NaN pass through for the caller to reject.
pub(crate) fn half(bytes: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bytes);
    if bits & 0x7c00 == 0x7c00 {
        let nan = if bits & 0x3ff == 0 { 0 } else { 1 << 22 };
        return f32::from_bits(u32::from(bits & 0x8000) << 16 | 0x7f80_0000 | nan);
    }
    edgellm_kernels::layout::f16_to_f32(bits)
}

#[cfg(test)]
mod tests;
