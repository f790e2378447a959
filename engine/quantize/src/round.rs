//! Rounding to nearest with the scale and minimum that minimize the squared error of what the engine will compute, that
//! is with both already rounded to half precision.

mod affine;
mod binary;
mod row;
pub(crate) mod six;
mod symmetric;
mod ternary;
pub(crate) mod weighted;

use affine::affine;
use binary::binary;
pub(crate) use row::{Rounder, Row};
use symmetric::symmetric;
use ternary::Ternary;

/// Independent sums, added at the end: the order of additions is the same on every target, and compilers vectorize
/// over them.
const LANES: usize = 8;

/// Sums `N` functions over a group.
#[inline(always)]
fn sums<const N: usize>(x: &[f32], terms: impl Fn(f32) -> [f32; N]) -> [f32; N] {
    sums_of_pairs(x, x, |x, _| terms(x))
}

/// Sums `N` functions over the elements of a group and their weights.
#[inline(always)]
fn sums_of_pairs<const N: usize>(x: &[f32], w: &[f32], terms: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0_f32; LANES]; N];
    let ((x_chunks, x_rest), (w_chunks, w_rest)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    for (x, w) in x_chunks.iter().zip(w_chunks) {
        let mut values = [[0.0_f32; LANES]; N];
        for lane in 0..LANES {
            let term = terms(x[lane], w[lane]);
            for n in 0..N {
                values[n][lane] = term[n];
            }
        }
        for n in 0..N {
            for lane in 0..LANES {
                lanes[n][lane] += values[n][lane];
            }
        }
    }
    for (lane, (&x, &w)) in x_rest.iter().zip(w_rest).enumerate() {
        let term = terms(x, w);
        for n in 0..N {
            lanes[n][lane] += term[n];
        }
    }
    let mut total = [0.0; N];
    for n in 0..N {
        let [a, b, c, d, e, f, g, h] = lanes[n];
        total[n] = ((a + e) + (c + g)) + ((b + f) + (d + h));
    }
    total
}

/// The nearest code of 0..=max to `value`, as a float; ties to even.
#[inline(always)]
pub(crate) fn nearest(value: f32, max: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves no bits for a fraction.
    const SHIFT: f32 = 12_582_912.0;
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < max { value } else { max };
    (value + SHIFT) - SHIFT
}

/// 1 / scale, or 0 if the scale underflowed.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

#[cfg(test)]
mod tests;
