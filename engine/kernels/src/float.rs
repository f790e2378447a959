//! Floating-point work in one order on every target: fixed lanes, no fused multiply-add, our own `exp`.
//!
//! The functions are plain Rust over 16 lanes. Inside [`Isa::enter`] the compiler vectorises them for the instruction set,
//! which cannot change a bit.

use crate::isa::{Isa, Job};

/// Lanes of a reduction, on every target.
const LANES: usize = 16;

/// e^x with a relative error below 2^-22 from -87 to 88; 0 below, e^88 above. NaN stays NaN.
///
/// Range reduction by ln 2 in two parts and the polynomial of Cephes' `expf` (Moshier, public domain).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = if x > 88.0 { 88.0 } else { x };
    let clamped = if clamped < -87.0 { -87.0 } else { clamped };
    // Adding 1.5 * 2^23 leaves the integer nearest to x / ln 2 in the low bits.
    let shifted = clamped * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5.0e-1;
    let y = (p * (r * r) + r) + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127).wrapping_shl(23));
    if x < -87.0 { 0.0 } else { y * power }
}

/// The sum, in 16 lanes that are then added in pairs at distance 8, 4, 2, 1.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    fold(x, |x| x)
}

/// The maximum, in the same lanes. NaN is ignored; without any number the result is -infinity.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    for distance in [8, 4, 2, 1] {
        for lane in 0..distance {
            let other = lanes[lane + distance];
            lanes[lane] = if other > lanes[lane] { other } else { lanes[lane] };
        }
    }
    lanes[0]
}

/// The sum of `f(x)`, in the same lanes.
#[inline(always)]
fn fold(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    for distance in [8, 4, 2, 1] {
        for lane in 0..distance {
            lanes[lane] += lanes[lane + distance];
        }
    }
    lanes[0]
}

/// `out = x / rms(x) * weight`.
pub(crate) struct RmsNorm<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) out: &'a mut [f32],
}

impl<I: Isa> Job<I> for RmsNorm<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        let mean = fold(self.x, |x| x * x) / self.x.len() as f32;
        let scale = 1.0 / (mean + self.eps).sqrt();
        for ((out, &x), &weight) in self.out.iter_mut().zip(self.x).zip(self.weight) {
            *out = (x * scale) * weight;
        }
    }
}

/// `gate = silu(gate) * up`.
pub(crate) struct SiluMul<'a> {
    pub(crate) gate: &'a mut [f32],
    pub(crate) up: &'a [f32],
}

impl<I: Isa> Job<I> for SiluMul<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        for (gate, &up) in self.gate.iter_mut().zip(self.up) {
            *gate = (*gate / (1.0 + exp(-*gate))) * up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close() {
        for i in -88_000..88_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(x < -87.0 || error < 2.4e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sum_and_max_take_every_element() {
        for len in 0..70 {
            let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(sum(&x), (len * (len.max(1) - 1) / 2) as f32);
            for largest in 0..len {
                let x: Vec<f32> = (0..len).map(|i| if i == largest { -1.0 } else { -2.0 }).collect();
                assert_eq!(max(&x), -1.0);
            }
        }
    }
}
