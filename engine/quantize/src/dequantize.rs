//! Every source type to f32, row by row. The tests compare with the reference implementation, the Python package `gguf`,
//! bit for bit.

use crate::codes::{Codes, half, unpack};
use crate::gguf::GgmlType;
use edgellm_kernels::layout::Zero;

/// Weights of the longest block, and its scales.
const LONGEST: (usize, usize) = (256, 16);

/// Dequantizes `bytes`, whole blocks of type `ggml_type`.
///
/// Returns `false`, with `out` unspecified, if the lengths of `bytes` and `out` do not match.
#[must_use]
pub fn dequantize(ggml_type: GgmlType, bytes: &[u8], out: &mut [f32]) -> bool {
    if ggml_type.row_bytes(out.len()) != Some(bytes.len()) {
        return false;
    }
    match (ggml_type, Codes::of(ggml_type)) {
        (_, Some(codes)) => coded(ggml_type, codes, bytes, out),
        (GgmlType::F16, _) => floats(bytes, out, half),
        (GgmlType::BF16, _) => floats(bytes, out, |[a, b]| f32::from_le_bytes([0, 0, a, b])),
        _ => floats(bytes, out, f32::from_le_bytes),
    }
    true
}

fn floats<const BYTES: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; BYTES]) -> f32) {
    for (y, x) in out.iter_mut().zip(bytes.as_chunks().0) {
        *y = value(*x);
    }
}

fn coded(ggml_type: GgmlType, Codes { zero, group_size, .. }: Codes, bytes: &[u8], out: &mut [f32]) {
    let weights = ggml_type.block_weights();
    let group_size = if group_size == 0 { weights } else { group_size };
    let (mut codes, mut scales, mut mins) = ([0; LONGEST.0], [0.0; LONGEST.1], [0.0; LONGEST.1]);
    for (block, out) in bytes.chunks_exact(ggml_type.block_bytes()).zip(out.chunks_exact_mut(weights)) {
        unpack(ggml_type, block, &mut codes, &mut scales, &mut mins);
        let groups = out.chunks_mut(group_size).zip(codes.chunks(group_size));
        for ((out, codes), (&scale, &min)) in groups.zip(scales.iter().zip(&mins)) {
            for (y, &code) in out.iter_mut().zip(codes) {
                *y = match zero {
                    Zero::Symmetric(zero) => scale * (f32::from(code) - f32::from(zero)),
                    Zero::Affine => scale * f32::from(code) + min,
                };
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
