//! Lossless conversion: source blocks whose codes, scales and minimums the model file can store unchanged.

use crate::gguf::GgmlType;
use edgellm_kernels::layout::{Encoding, Zero};

/// Weights per block of all types handled here.
pub(crate) const BLOCK: usize = 32;

/// What the codes of `ggml_type` represent when stored as `encoding`; `None` if they do not fit it.
pub(crate) fn zero(ggml_type: GgmlType, encoding: Encoding) -> Option<Zero> {
    match (encoding, ggml_type) {
        (Encoding::Nibbles, GgmlType::Q4_0) => Some(Zero::Symmetric(8)),
        (Encoding::Nibbles, GgmlType::Q4_1) => Some(Zero::Affine),
        (Encoding::Bytes, GgmlType::Q4_1 | GgmlType::Q5_1) => Some(Zero::Affine),
        (Encoding::Bytes, GgmlType::Q8_0 | GgmlType::Q5_0 | GgmlType::Q4_0) => Some(Zero::Symmetric(128)),
        _ => None,
    }
}

/// Copies a row of blocks: its codes, and per block a scale (and, for affine types, a minimum) as half-precision bits. The
/// slices have one element per weight and per block of the row.
pub(crate) fn copy_row(
    ggml_type: GgmlType,
    encoding: Encoding,
    row: &[u8],
    codes: &mut [u8],
    scales: &mut [u16],
    mins: &mut [u16],
) {
    let blocks = row.chunks_exact(ggml_type.block_bytes()).zip(codes.as_chunks_mut::<BLOCK>().0);
    for (index, ((block, codes), scale)) in blocks.zip(scales).enumerate() {
        let half = |at: usize| match block.get(at..at + 2) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => 0,
        };
        *scale = half(0);
        let (header, lift) = match (ggml_type, encoding) {
            (GgmlType::Q4_1, _) => (4, 0),
            (GgmlType::Q5_0, _) => (6, 128 - 16),
            (GgmlType::Q5_1, _) => (8, 0),
            (GgmlType::Q4_0, Encoding::Bytes) => (2, 128 - 8),
            _ => (2, 0),
        };
        if let (GgmlType::Q4_1 | GgmlType::Q5_1, Some(min)) = (ggml_type, mins.get_mut(index)) {
            *min = half(2);
        }
        let stored = block.get(header..).unwrap_or_default();
        if ggml_type == GgmlType::Q8_0 {
            for (code, &byte) in codes.iter_mut().zip(stored) {
                *code = byte ^ 0x80; // q + 128
            }
            continue;
        }
        let high = match ggml_type {
            GgmlType::Q5_0 => u32::from(half(2)) | u32::from(half(4)) << 16,
            GgmlType::Q5_1 => u32::from(half(4)) | u32::from(half(6)) << 16,
            _ => 0,
        };
        let (low_half, high_half) = codes.split_at_mut(BLOCK / 2);
        for (j, ((low, up), &byte)) in low_half.iter_mut().zip(high_half).zip(stored).enumerate() {
            *low = (byte & 15 | ((high >> j & 1) as u8) << 4) + lift;
            *up = (byte >> 4 | ((high >> (j + BLOCK / 2) & 1) as u8) << 4) + lift;
        }
    }
}
