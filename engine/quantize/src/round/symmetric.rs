//! weight = scale * (code - zero).

use super::{inverse, nearest, sums};
use edgellm_kernels::layout::{f16_to_f32, f32_to_f16};

const REFINEMENTS: usize = 4;

/// Factors by which the scale is reduced in the search.
const SHRINKS: [f32; 4] = [1.0, 0.99, 0.97, 0.94];

#[derive(Clone, Copy)]
struct Fit {
    scale: f32,
    error: f32,
}

impl Fit {
    fn new(x: &[f32], scale: f32, zero: f32, max: f32) -> Fit {
        let scale = f16_to_f32(f32_to_f16(scale));
        let inverse = inverse(scale);
        let [error] = sums(x, |x| {
            let difference = x - scale * (nearest(x * inverse + zero, max) - zero);
            [difference * difference]
        });
        Fit { scale, error }
    }

    fn least_squares(x: &[f32], scale: f32, zero: f32, max: f32) -> Option<Fit> {
        let inverse = inverse(scale);
        let [qq, qx] = sums(x, |x| {
            let code = nearest(x * inverse + zero, max) - zero;
            [code * code, code * x]
        });
        (qq > 0.0).then(|| Fit::new(x, qx / qq, zero, max))
    }
}

/// Chooses codes in 0..=max_code for a group; returns the scale as half-precision bits. `zero` is the code of weight 0.
///
/// There is one more code below zero than above; a negative scale moves it to the other side.
pub(crate) fn symmetric(x: &[f32], zero: u8, max_code: u8, codes: &mut [u8]) -> u16 {
    let (zero, max) = (f32::from(zero), f32::from(max_code));
    let largest = x.iter().fold(0.0_f32, |largest, &x| if x.abs() > largest.abs() { x } else { largest });
    let mut best = Fit::new(x, largest.abs() / (max - zero), zero, max);
    if largest != 0.0 {
        for full in [largest.abs() / (max - zero), -largest / zero] {
            for shrink in SHRINKS {
                if let Some(fit) = Fit::least_squares(x, full * shrink, zero, max)
                    && fit.error < best.error
                {
                    best = fit;
                }
            }
        }
        for _ in 0..REFINEMENTS {
            match Fit::least_squares(x, best.scale, zero, max) {
                Some(fit) if fit.error < best.error => best = fit,
                _ => break,
            }
        }
    }
    let inverse = inverse(best.scale);
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = nearest(x * inverse + zero, max) as u8;
    }
    f32_to_f16(best.scale)
}
