//! The blocks of a source's quantized types as codes, scales and minimums: what a model file can keep of them.
//!
//! Written from the definition of the formats; the tests compare with the reference implementation, the Python package
//! `gguf`.

mod few_bits;
mod k_blocks;
mod small_blocks;
mod tables;

use crate::gguf::GgmlType;
use edgellm_kernels::layout::{BLOCK, Encoding, HALF, Zero, f32_to_f16};

/// What the codes of a type are, and how a model file holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codes {
    pub(crate) encoding: Encoding,
    pub(crate) zero: Zero,
    /// Columns that share a scale; 0 for all of a row.
    pub(crate) group_size: usize,
    /// Whether scales and minimums are half-precision floats in the source too; else they are products that are rounded.
    pub(crate) exact: bool,
}

impl Codes {
    /// The codes of `ggml_type`; `None` for floats.
    pub(crate) fn of(ggml_type: GgmlType) -> Option<Codes> {
        let exact = |encoding, zero| Some(Codes { encoding, zero, group_size: BLOCK, exact: true });
        let rounded = |encoding, zero, group_size| Some(Codes { encoding, zero, group_size, exact: false });
        let signs = |encoding, group_size| {
            Some(Codes { encoding, zero: Zero::Symmetric(1), group_size, exact: true })
        };
        match ggml_type {
            GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => None,
            GgmlType::Q4_0 => exact(Encoding::Nibbles, Zero::Symmetric(8)),
            GgmlType::Q4_1 => exact(Encoding::Nibbles, Zero::Affine),
            GgmlType::Q5_0 => exact(Encoding::Split(5), Zero::Symmetric(16)),
            GgmlType::Q5_1 => exact(Encoding::Split(5), Zero::Affine),
            GgmlType::Q8_0 => exact(Encoding::Bytes, Zero::Symmetric(128)),
            GgmlType::Q2_K => rounded(Encoding::Split(2), Zero::Affine, HALF),
            GgmlType::Q3_K => rounded(Encoding::Split(3), Zero::Symmetric(4), HALF),
            GgmlType::Q4_K => rounded(Encoding::Nibbles, Zero::Affine, BLOCK),
            GgmlType::Q5_K => rounded(Encoding::Split(5), Zero::Affine, BLOCK),
            GgmlType::Q6_K => rounded(Encoding::Split(6), Zero::Symmetric(32), HALF),
            GgmlType::IQ4_NL => exact(Encoding::Table(tables::IQ4), Zero::Symmetric(tables::IQ4_ZERO)),
            GgmlType::IQ4_XS => {
                rounded(Encoding::Table(tables::IQ4), Zero::Symmetric(tables::IQ4_ZERO), BLOCK)
            }
            GgmlType::MXFP4 => {
                rounded(Encoding::Table(tables::FP4), Zero::Symmetric(tables::FP4_ZERO), BLOCK)
            }
            GgmlType::TQ1_0 | GgmlType::TQ2_0 => signs(Encoding::Ternary, 256),
            GgmlType::Q2_0 => signs(Encoding::Ternary, 64),
            GgmlType::PQ2_0 | GgmlType::PTQ1_0 => signs(Encoding::Ternary, 128),
            GgmlType::I2_S | GgmlType::I2_S_ARM => signs(Encoding::Ternary, 0),
            GgmlType::Q1_0 => signs(Encoding::Binary, 128),
        }
    }

    /// The codes of a tensor: those of its type, but where ternary codes of 2 bits include a fourth, in planes that have it.
    pub(crate) fn of_tensor(ggml_type: GgmlType, data: &[u8]) -> Option<Codes> {
        let codes = Codes::of(ggml_type)?;
        let encoding = if has_fourth_code(ggml_type, data) { Encoding::Planes(2) } else { codes.encoding };
        Some(Codes { encoding, ..codes })
    }

    /// The same as codes of 8 bits with the scales and minimums that they have; `None` if these are rounded, or not one for
    /// 32 columns.
    pub(crate) fn as_bytes(self) -> Option<Codes> {
        let zero = match self.zero {
            Zero::Symmetric(_) => Zero::Symmetric(128),
            Zero::Affine => Zero::Affine,
        };
        (self.exact && self.group_size == BLOCK).then_some(Codes { encoding: Encoding::Bytes, zero, ..self })
    }
}

/// Whether a code of 2 bits is 3, which stands for twice the scale.
fn has_fourth_code(ggml_type: GgmlType, data: &[u8]) -> bool {
    let codes = match ggml_type {
        GgmlType::TQ2_0 => 0..64,
        GgmlType::Q2_0 | GgmlType::PQ2_0 => 2..ggml_type.block_bytes(),
        GgmlType::I2_S | GgmlType::I2_S_ARM => 0..ggml_type.block_bytes(),
        _ => return false,
    };
    data.chunks_exact(ggml_type.block_bytes())
        .filter_map(|block| block.get(codes.clone()))
        .any(|bytes| bytes.iter().fold(0, |seen, byte| seen | byte & byte >> 1 & 0x55) != 0)
}

/// The largest half-precision float.
pub(crate) const LARGEST_HALF: f32 = 65504.0;

/// A row's codes as a file with zero point `zero` holds them, with their scales and minimums as half-precision bits.
///
/// # Errors
/// The first scale or minimum that half precision does not reach, or that is NaN.
pub(crate) fn keep(
    ggml_type: GgmlType,
    row: &[u8],
    zero: Zero,
    codes: &mut [u8],
    scales: &mut [u16],
    mins: &mut [u16],
) -> Result<(), f32> {
    let (mut exact_scales, mut exact_mins) = (vec![0.0; scales.len()], vec![0.0; mins.len()]);
    unpack(ggml_type, row, codes, &mut exact_scales, &mut exact_mins);
    if let (Some(Zero::Symmetric(from)), Zero::Symmetric(to)) =
        (Codes::of(ggml_type).map(|codes| codes.zero), zero)
        && from != to
    {
        codes.iter_mut().for_each(|code| *code = code.wrapping_add(to.wrapping_sub(from)));
    }
    let halves = scales.iter_mut().chain(mins);
    for (half, &exact) in halves.zip(exact_scales.iter().chain(&exact_mins)) {
        if exact.is_nan() || exact.abs() > LARGEST_HALF {
            return Err(exact);
        }
        *half = f32_to_f16(exact);
    }
    Ok(())
}

/// Splits whole blocks of `ggml_type` into codes, one a weight, and a scale and a minimum for each group: a weight is
/// `scale * (code - zero)`, or `scale * code + min`. `mins` is left alone if the type has none.
///
/// Does nothing for floats. Slices that are too short end the work early.
pub(crate) fn unpack(
    ggml_type: GgmlType,
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    mins: &mut [f32],
) {
    match ggml_type {
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => {}
        GgmlType::Q4_0 => symmetric(bytes, codes, scales, small_blocks::q4_0),
        GgmlType::Q4_1 => affine(bytes, codes, scales, mins, small_blocks::q4_1),
        GgmlType::Q5_0 => symmetric(bytes, codes, scales, small_blocks::q5_0),
        GgmlType::Q5_1 => affine(bytes, codes, scales, mins, small_blocks::q5_1),
        GgmlType::Q8_0 => symmetric(bytes, codes, scales, small_blocks::q8_0),
        GgmlType::Q2_K => affine(bytes, codes, scales, mins, k_blocks::q2),
        GgmlType::Q3_K => symmetric(bytes, codes, scales, k_blocks::q3),
        GgmlType::Q4_K => affine(bytes, codes, scales, mins, k_blocks::q4),
        GgmlType::Q5_K => affine(bytes, codes, scales, mins, k_blocks::q5),
        GgmlType::Q6_K => symmetric(bytes, codes, scales, k_blocks::q6),
        GgmlType::IQ4_NL => symmetric(bytes, codes, scales, tables::iq4_nl),
        GgmlType::IQ4_XS => symmetric(bytes, codes, scales, tables::iq4_xs),
        GgmlType::MXFP4 => symmetric(bytes, codes, scales, tables::mxfp4),
        GgmlType::TQ1_0 => symmetric(bytes, codes, scales, few_bits::tq1_0),
        GgmlType::TQ2_0 => symmetric(bytes, codes, scales, few_bits::tq2_0),
        GgmlType::Q1_0 => symmetric(bytes, codes, scales, few_bits::q1_0),
        GgmlType::Q2_0 => symmetric(bytes, codes, scales, few_bits::q2_0),
        GgmlType::PQ2_0 => symmetric(bytes, codes, scales, few_bits::pq2_0),
        GgmlType::PTQ1_0 => symmetric(bytes, codes, scales, few_bits::ptq1_0),
        // Their scale is the tensor's.
        GgmlType::I2_S => {
            scales.fill(1.0);
            few_bits::i2_s::<32>(bytes, codes);
        }
        GgmlType::I2_S_ARM => {
            scales.fill(1.0);
            few_bits::i2_s::<16>(bytes, codes);
        }
    }
}

/// Blocks of `BYTES` bytes, `WEIGHTS` weights and `GROUPS` scales.
fn symmetric<const BYTES: usize, const WEIGHTS: usize, const GROUPS: usize>(
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [u8; WEIGHTS], &mut [f32; GROUPS]),
) {
    let blocks = bytes.as_chunks().0.iter().zip(codes.as_chunks_mut().0).zip(scales.as_chunks_mut().0);
    for ((bytes, codes), scales) in blocks {
        block(bytes, codes, scales);
    }
}

/// [`symmetric`] with as many minimums.
fn affine<const BYTES: usize, const WEIGHTS: usize, const GROUPS: usize>(
    bytes: &[u8],
    codes: &mut [u8],
    scales: &mut [f32],
    mins: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [u8; WEIGHTS], &mut [f32; GROUPS], &mut [f32; GROUPS]),
) {
    let blocks = bytes.as_chunks().0.iter().zip(codes.as_chunks_mut().0);
    let groups = scales.as_chunks_mut().0.iter_mut().zip(mins.as_chunks_mut().0);
    for ((bytes, codes), (scales, mins)) in blocks.zip(groups) {
        block(bytes, codes, scales, mins);
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

/// Byte j holds code j in its low and code 16 + j in its high half.
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(16);
    for ((low, high), &byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

#[cfg(test)]
mod tests;
