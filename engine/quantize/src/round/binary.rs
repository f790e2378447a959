//! weight = scale * (code - 1), codes 0 and 2.

use edgellm_kernels::layout::f32_to_f16;

/// The signs of a group, and the scale with the least squared error, the mean magnitude, as half-precision bits.
pub(crate) fn binary(x: &[f32], codes: &mut [u8]) -> u16 {
    let sum: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = if x < 0.0 { 0 } else { 2 };
    }
    f32_to_f16((sum / x.len().max(1) as f64) as f32)
}
