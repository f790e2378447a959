//! Six-bit scales and minimums: a row's groups have whole multiples, below 64, of two halves of the row.

use super::row::Row;
use super::{inverse, nearest, sums_of_pairs};
use edgellm_kernels::layout::{Layout, Scales, f16_to_f32, f32_to_f16};

/// The largest multiple.
const MOST: f32 = 63.0;

/// The scale and the minimum that a group of a row has in the file, as [`Row`] has them.
pub(crate) fn stored(layout: &Layout, halves: [u16; 2], scale: u16, min: u16) -> (f32, f32) {
    match layout.scales() {
        Scales::Halves => (f16_to_f32(scale), f16_to_f32(min)),
        Scales::SixBits => {
            let [row_scale, row_min] = halves.map(f16_to_f32);
            (row_scale * f32::from(scale), row_min * f32::from(min))
        }
    }
}

/// Replaces scales and minimums in half precision by multiples of the row's, and chooses codes for them.
///
/// The row's halves are such that the largest scale and the lowest minimum are 63 times them. A group takes those multiples
/// around its own scale and minimum whose squared error, weighted by column, is smallest.
pub(super) fn six_bits(
    group_size: usize,
    max_code: u8,
    x: &[f32],
    weights: Option<&[f32]>,
    Row { codes, scales, mins, halves }: Row<'_>,
) {
    let max = f32::from(max_code);
    let groups = || x.chunks(group_size);
    // Minimums above 0 have no multiple: such a group begins at 0.
    let free = |x: &[f32], scale: u16, min: u16| match f16_to_f32(min) {
        min if min > 0.0 => (x.iter().fold(0.0_f32, |most, &x| most.max(x)) / max, 0.0),
        min => (f16_to_f32(scale), min),
    };
    let fits: Vec<(f32, f32)> =
        groups().zip(scales.iter().zip(&*mins)).map(|(x, (&scale, &min))| free(x, scale, min)).collect();
    let (most, least) =
        fits.iter().fold((0.0_f32, 0.0_f32), |(most, least), fit| (most.max(fit.0), least.min(fit.1)));
    *halves = [half_above(most / MOST), half_above(-least / MOST) | SIGN];
    let [row_scale, row_min] = halves.map(f16_to_f32);
    let same = vec![1.0; if weights.is_some() { 0 } else { x.len() }];
    let weights = weights.unwrap_or(&same).chunks(group_size);
    let stored = codes.chunks_mut(group_size).zip(scales.iter_mut().zip(mins));
    for (((x, w), fit), (codes, (scale, min))) in groups().zip(weights).zip(fits).zip(stored) {
        let mut best = (f32::INFINITY, 0.0, 0.0);
        for s in around(fit.0 * inverse(row_scale)) {
            for t in around(fit.1 * inverse(row_min)) {
                let error = error(x, w, row_scale * s, row_min * t, max);
                if error < best.0 {
                    best = (error, s, t);
                }
            }
        }
        let (_, s, t) = best;
        (*scale, *min) = (s as u16, t as u16);
        let (scale, min) = (row_scale * s, row_min * t);
        for (code, &x) in codes.iter_mut().zip(x) {
            *code = nearest((x - min) * inverse(scale), max) as u8;
        }
    }
}

/// The sign of a half.
const SIGN: u16 = 0x8000;

/// The smallest half that is not below a value, which is not negative.
fn half_above(value: f32) -> u16 {
    let half = f32_to_f16(value);
    if f16_to_f32(half) < value { half + 1 } else { half }
}

/// The multiple nearest to a value, and its neighbours.
fn around(value: f32) -> impl Iterator<Item = f32> {
    let middle = nearest(value, MOST);
    [middle, middle - 1.0, middle + 1.0].into_iter().filter(|multiple| (0.0..=MOST).contains(multiple))
}

/// The weighted squared error of a group with the nearest codes.
fn error(x: &[f32], w: &[f32], scale: f32, min: f32, max: f32) -> f32 {
    let inverse = inverse(scale);
    let [error] = sums_of_pairs(x, w, |x, w| {
        let difference = x - (scale * nearest((x - min) * inverse, max) + min);
        [w * difference * difference]
    });
    error
}

#[cfg(test)]
mod tests {
    use super::super::Rounder;
    use super::*;
    use crate::options::Format;
    use crate::testing::random_floats;

    const COLS: usize = 150;

    fn layout(format: Format, scales: Scales) -> Layout {
        let target = format.target();
        Layout::new(1, COLS, target.encoding, target.zero, 32).unwrap().with_scales(scales).unwrap()
    }

    /// A row's squared error, and its codes, scales, minimums and halves.
    fn rounded(format: Format, scales: Scales, x: &[f32]) -> (f64, Vec<u8>, Vec<u16>, Vec<u16>, [u16; 2]) {
        let layout = layout(format, scales);
        let (mut codes, mut scales, mut mins) = (vec![0; COLS], vec![0; 5], vec![0; 5]);
        let mut halves = [0; 2];
        let out = Row { codes: &mut codes, scales: &mut scales, mins: &mut mins, halves: &mut halves };
        Rounder::default().row(&layout, format.target().max_code, x, None, out);
        let weight = |col: usize| {
            let (scale, min) = stored(&layout, halves, scales[col / 32], mins[col / 32]);
            scale * f32::from(codes[col]) + min
        };
        let error = (0..COLS).map(|col| f64::from(x[col] - weight(col)).powi(2)).sum();
        (error, codes, scales, mins, halves)
    }

    #[test]
    fn six_bits_cost_little() {
        let mut x = random_floats(COLS, 5);
        x.iter_mut().enumerate().for_each(|(col, x)| *x *= 1.0 + (col / 32) as f32);
        for format in [Format::Int2, Format::Int3, Format::Int4] {
            let (with, codes, scales, mins, _) = rounded(format, Scales::SixBits, &x);
            let without = rounded(format, Scales::Halves, &x).0;
            assert!(with < 1.15 * without, "{format}: {with} with six bits, {without} without");
            assert!(codes.iter().all(|&code| code <= format.target().max_code));
            assert!(scales.iter().chain(&mins).all(|&six| six < 64));
            assert_eq!((scales.iter().max(), mins.iter().max()), (Some(&63), Some(&63)), "{format}");
        }
    }

    /// Zeros, one sign alone, and what is near the least half.
    #[test]
    fn rows_of_every_kind_have_multiples() {
        let positive: Vec<f32> = random_floats(COLS, 6).iter().map(|x| x.abs() + 0.1).collect();
        let negative: Vec<f32> = positive.iter().map(|x| -x).collect();
        let tiny: Vec<f32> = random_floats(COLS, 7).iter().map(|x| x * 1e-5).collect();
        for x in [&vec![0.0; COLS], &positive, &negative, &tiny] {
            let (error, _, _, _, halves) = rounded(Format::Int4, Scales::SixBits, x);
            let squares: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
            assert!(error <= 0.01 * squares, "{error} of {squares}");
            assert!(halves.iter().all(|half| half & 0x7c00 != 0x7c00));
        }
    }

    #[test]
    fn halves_are_rounded_up() {
        for value in [0.0, 1e-9, 1e-7, 0.1, 1.0, 3.3, 1000.3] {
            let half = half_above(value);
            assert!(f16_to_f32(half) >= value, "{value}");
            assert!(half == 0 || f16_to_f32(half - 1) < value, "{value}");
        }
    }
}
