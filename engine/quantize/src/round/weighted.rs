//! Rounding that minimizes the squared error weighted by the importance of each column. Scales and minimums are rounded to what
//! the file stores before codes are chosen, here too.

use super::{inverse, nearest, sums_of_pairs as sums};
use edgellm_kernels::layout::{f16_to_f32, f32_to_f16};

/// Least-squares steps from each point of the grid. The first alone is not enough: with weights the codes move further.
const STEPS: usize = 2;
/// Steps from the best of all; more gain nothing.
const REFINEMENTS: usize = 6;

/// Fractions of the range by which the grid moves each end inwards: both together shrink the range to 0.52, and to 0.8 for 4
/// bits. That is further than without weights, because an outlier in a column that does not matter is clipped freely.
fn cuts(max_code: u8) -> &'static [f32] {
    match max_code {
        0..=7 => &[0.0, 0.08, 0.16, 0.24],
        8..=15 => &[0.0, 0.03, 0.06, 0.10],
        _ => &[0.0, 0.02, 0.05],
    }
}

/// Factors by which a symmetric scale is reduced in the search.
fn shrinks(max_code: u8) -> &'static [f32] {
    match max_code {
        0..=7 => &[1.0, 0.92, 0.84, 0.76, 0.68, 0.60, 0.52],
        8..=15 => &[1.0, 0.95, 0.90, 0.85, 0.80],
        _ => &[1.0, 0.99, 0.97, 0.94],
    }
}

/// What a group's weights are to be multiplied with: the largest becomes 1, so that no sum overflows or vanishes. If none of
/// the columns has any importance, all have the same.
pub(crate) fn normalize(means: &[f32], group_size: usize) -> Vec<f32> {
    let mut weights = means.to_vec();
    for group in weights.chunks_mut(group_size.max(1)) {
        let largest =
            group.iter().fold(0.0_f32, |largest, &mean| if mean > largest { mean } else { largest });
        for weight in group {
            *weight = if largest > 0.0 { *weight / largest } else { 1.0 };
        }
    }
    weights
}

/// A scale and a minimum as the file can store them, and the weighted squared error with the nearest codes. Symmetric: code =
/// x / scale + zero, and the minimum is 0.
#[derive(Clone, Copy)]
struct Fit {
    scale: f32,
    min: f32,
    error: f32,
}

/// A group, and what its codes are.
#[derive(Clone, Copy)]
struct Group<'a> {
    x: &'a [f32],
    w: &'a [f32],
    max: f32,
    /// The code of weight 0; 0 with a minimum.
    zero: f32,
}

impl Group<'_> {
    fn fit(&self, scale: f32, min: f32) -> Fit {
        let (scale, min) = (f16_to_f32(f32_to_f16(scale)), f16_to_f32(f32_to_f16(min)));
        let (inverse, max, zero) = (inverse(scale), self.max, self.zero);
        let [error] = sums(self.x, self.w, |x, w| {
            let difference = x - (scale * (nearest((x - min) * inverse + zero, max) - zero) + min);
            [w * difference * difference]
        });
        Fit { scale, min, error }
    }

    /// The best scale for the codes that `scale` gives.
    fn refit_scale(&self, scale: f32) -> Option<Fit> {
        let (inverse, max, zero) = (inverse(scale), self.max, self.zero);
        let [qq, qx] = sums(self.x, self.w, |x, w| {
            let code = nearest(x * inverse + zero, max) - zero;
            [w * code * code, w * code * x]
        });
        (qq > 0.0).then(|| self.fit(qx / qq, 0.0))
    }

    /// The best scale and minimum for the codes that these give. `totals`: of the weights, and of their products with x.
    fn refit(&self, [n, total]: [f64; 2], scale: f32, min: f32) -> Option<Fit> {
        let (inverse, max) = (inverse(scale), self.max);
        let [q, qq, qx] = sums(self.x, self.w, |x, w| {
            let code = nearest((x - min) * inverse, max);
            [w * code, w * code * code, w * code * x]
        })
        .map(f64::from);
        let determinant = n * qq - q * q;
        if determinant <= 0.0 {
            return None;
        }
        // The minimum that suits the scale as it will be stored.
        let scale = f16_to_f32(f32_to_f16(((n * qx - q * total) / determinant) as f32));
        let min = ((total - f64::from(scale) * q) / n) as f32;
        Some(self.fit(scale, min))
    }

    fn choose(&self, best: Fit, codes: &mut [u8]) {
        let inverse = inverse(best.scale);
        for (code, &x) in codes.iter_mut().zip(self.x) {
            *code = nearest((x - best.min) * inverse + self.zero, self.max) as u8;
        }
    }
}

/// The best of `best` and what `steps` least-squares steps from `start` find.
fn descend(best: Fit, start: Fit, steps: usize, step: impl Fn(Fit) -> Option<Fit>) -> Fit {
    let (mut best, mut at) = (best, start);
    for _ in 0..steps {
        match step(at) {
            Some(fit) => at = fit,
            None => break,
        }
        if at.error < best.error {
            best = at;
        }
    }
    best
}

/// [`super::affine`] with a weight for each element, as [`normalize`] makes them.
pub(crate) fn affine(x: &[f32], w: &[f32], max_code: u8, codes: &mut [u8]) -> (u16, u16) {
    let group = Group { x, w, max: f32::from(max_code), zero: 0.0 };
    let (low, high) = x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &x| {
        (if x < low { x } else { low }, if x > high { x } else { high })
    });
    if x.is_empty() {
        return (0, 0);
    }
    let (range, max) = (high - low, group.max);
    let totals = sums(x, w, |x, w| [w, w * x]).map(f64::from);
    let mut best = group.fit(range / max, low);
    if range > 0.0 {
        let refit = |from: Fit| group.refit(totals, from.scale, from.min);
        for cut_low in cuts(max_code) {
            for cut_high in cuts(max_code) {
                let (min, width) = (low + cut_low * range, range * (1.0 - cut_low - cut_high));
                best = descend(best, Fit { scale: width / max, min, error: 0.0 }, STEPS, refit);
            }
        }
        best = descend(best, best, REFINEMENTS, refit);
    }
    group.choose(best, codes);
    (f32_to_f16(best.scale), f32_to_f16(best.min))
}

/// [`super::symmetric`] with a weight for each element, as [`normalize`] makes them.
pub(crate) fn symmetric(x: &[f32], w: &[f32], zero: u8, max_code: u8, codes: &mut [u8]) -> u16 {
    let group = Group { x, w, max: f32::from(max_code), zero: f32::from(zero) };
    let largest = x.iter().fold(0.0_f32, |largest, &x| if x.abs() > largest.abs() { x } else { largest });
    let full = largest.abs() / (group.max - group.zero);
    let mut best = group.fit(full, 0.0);
    if largest != 0.0 {
        let refit = |from: Fit| group.refit_scale(from.scale);
        for full in [full, -largest / group.zero] {
            for shrink in shrinks(max_code) {
                best = descend(best, Fit { scale: full * shrink, min: 0.0, error: 0.0 }, STEPS, refit);
            }
        }
        best = descend(best, best, REFINEMENTS, refit);
    }
    group.choose(best, codes);
    f32_to_f16(best.scale)
}

/// [`super::binary`] with a weight for each element.
pub(crate) fn binary(x: &[f32], w: &[f32], codes: &mut [u8]) -> u16 {
    let (mut sum, mut total) = (0.0, 0.0);
    for ((code, &x), &w) in codes.iter_mut().zip(x).zip(w) {
        *code = if x < 0.0 { 0 } else { 2 };
        sum += f64::from(w) * f64::from(x.abs());
        total += f64::from(w);
    }
    f32_to_f16(if total > 0.0 { (sum / total) as f32 } else { 0.0 })
}

/// The ternary codes with the least weighted error; returns the scale as half-precision bits.
///
/// As without weights, the best scale for the k largest magnitudes is their mean, now weighted, and every element above half of
/// the scale belongs to them: one pass over the sorted magnitudes finds the optimum.
pub(crate) fn ternary(x: &[f32], w: &[f32], codes: &mut [u8], sorted: &mut Vec<(u32, u32)>) -> u16 {
    sorted.clear();
    // The bits of non-negative floats sort like the floats.
    sorted.extend(x.iter().zip(w).map(|(x, w)| (x.to_bits() & 0x7fff_ffff, w.to_bits())));
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let (mut sum, mut total, mut best_gain, mut scale) = (0.0_f64, 0.0_f64, 0.0, 0.0);
    for &(x, w) in &*sorted {
        let w = f64::from(f32::from_bits(w));
        sum += w * f64::from(f32::from_bits(x));
        total += w;
        let gain = if total > 0.0 { sum * sum / total } else { 0.0 };
        if gain > best_gain {
            (best_gain, scale) = (gain, (sum / total) as f32);
        }
    }
    let scale = f32_to_f16(scale);
    let inverse = inverse(f16_to_f32(scale));
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = nearest(x * inverse + 1.0, 2.0) as u8;
    }
    scale
}

#[cfg(test)]
mod tests;
