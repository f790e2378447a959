//! weight = scale * code + min.

use super::{inverse, nearest, sums};
use edgellm_kernels::layout::{f16_to_f32, f32_to_f16};

/// Steps of refinement after the grid; more gain nothing.
const REFINEMENTS: usize = 6;

/// Fractions of the range by which the grid moves each end inwards. Outliers cost codes: the fewer codes there are, the
/// further it pays to clip them.
fn shrinks(max_code: u8) -> &'static [f32] {
    match max_code {
        0..=3 => &[0.0, 0.08, 0.16, 0.24, 0.32],
        4..=7 => &[0.0, 0.05, 0.10, 0.16],
        _ => &[-0.02, 0.01, 0.04, 0.07],
    }
}

/// A scale and a minimum as the file can store them, and the squared error with the nearest codes.
#[derive(Clone, Copy)]
struct Fit {
    scale: f32,
    min: f32,
    error: f32,
}

/// The nearest codes with this scale and minimum: their sum, the sum of their squares, and of their
/// products with the weights.
#[inline(always)]
fn code_sums(x: &[f32], scale: f32, min: f32, max: f32) -> [f32; 3] {
    let inverse = inverse(scale);
    sums(x, |x| {
        let code = nearest((x - min) * inverse, max);
        [code, code * code, code * x]
    })
}

impl Fit {
    fn new(x: &[f32], scale: f32, min: f32, max: f32) -> Fit {
        let (scale, min) = (f16_to_f32(f32_to_f16(scale)), f16_to_f32(f32_to_f16(min)));
        let inverse = inverse(scale);
        let [error] = sums(x, |x| {
            let difference = x - (scale * nearest((x - min) * inverse, max) + min);
            [difference * difference]
        });
        Fit { scale, min, error }
    }

    /// The best scale and minimum for the codes that `scale` and `min` give.
    fn least_squares(x: &[f32], total: f32, scale: f32, min: f32, max: f32) -> Option<Fit> {
        let [q, qq, qx] = code_sums(x, scale, min, max).map(f64::from);
        let (n, total) = (x.len() as f64, f64::from(total));
        let determinant = n * qq - q * q;
        if determinant <= 0.0 {
            return None;
        }
        // The minimum that suits the scale as it will be stored.
        let scale = f16_to_f32(f32_to_f16(((n * qx - q * total) / determinant) as f32));
        let min = ((total - f64::from(scale) * q) / n) as f32;
        Some(Fit::new(x, scale, min, max))
    }
}

/// Chooses codes in 0..=max_code for a group; returns scale and minimum as half-precision bits.
pub(crate) fn affine(x: &[f32], max_code: u8, codes: &mut [u8]) -> (u16, u16) {
    let max = f32::from(max_code);
    let (low, high) = x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &x| {
        (if x < low { x } else { low }, if x > high { x } else { high })
    });
    if x.is_empty() {
        return (0, 0);
    }
    let range = high - low;
    let [total] = sums(x, |x| [x]);
    let mut best = Fit::new(x, range / max, low, max);
    if range > 0.0 {
        for cut_low in shrinks(max_code) {
            for cut_high in shrinks(max_code) {
                let (low, width) = (low + cut_low * range, range * (1.0 - cut_low - cut_high));
                if let Some(fit) = Fit::least_squares(x, total, width / max, low, max)
                    && fit.error < best.error
                {
                    best = fit;
                }
            }
        }
        for _ in 0..REFINEMENTS {
            match Fit::least_squares(x, total, best.scale, best.min, max) {
                Some(fit) if fit.error < best.error => best = fit,
                _ => break,
            }
        }
    }
    let inverse = inverse(best.scale);
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = nearest((x - best.min) * inverse, max) as u8;
    }
    (f32_to_f16(best.scale), f32_to_f16(best.min))
}
