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
    sum_of(x, |x| x)
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
pub(crate) fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
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
        let mean = sum_of(self.x, |x| x * x) / self.x.len() as f32;
        let scale = 1.0 / (mean + self.eps).sqrt();
        for ((out, &x), &weight) in self.out.iter_mut().zip(self.x).zip(self.weight) {
            *out = (x * scale) * weight;
        }
    }
}

/// A function of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// x * sigmoid(x)
    Silu,
    /// GELU (arXiv 1606.08415) in its approximation by tanh
    GeluTanh,
    /// The square of ReLU
    Relu2,
    /// 1 / (1 + e^-x)
    Sigmoid,
}

/// x / (1 + e^-x)
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// 0.5 x (1 + tanh(y)) = x / (1 + e^-2y), where y = sqrt(2 / pi) (x + 0.044715 x^3)
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let y = 0.797_884_6 * (x + 0.044_715 * (x * x * x));
    x / (1.0 + exp(-2.0 * y))
}

#[inline(always)]
fn relu2(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    x * x
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `gate = function(gate) * up`.
pub(crate) struct GateMul<'a> {
    pub(crate) function: Gate,
    pub(crate) gate: &'a mut [f32],
    pub(crate) up: &'a [f32],
}

impl<I: Isa> Job<I> for GateMul<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, _: I) {
        match self.function {
            Gate::Silu => gate_mul(self.gate, self.up, silu),
            Gate::GeluTanh => gate_mul(self.gate, self.up, gelu_tanh),
            Gate::Relu2 => gate_mul(self.gate, self.up, relu2),
            Gate::Sigmoid => gate_mul(self.gate, self.up, sigmoid),
        }
    }
}

#[inline(always)]
fn gate_mul(gate: &mut [f32], up: &[f32], function: impl Fn(f32) -> f32) {
    for (gate, &up) in gate.iter_mut().zip(up) {
        *gate = function(*gate) * up;
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
    fn gates_are_close() {
        let tanh = |x: f64| {
            x * 0.5 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        };
        for i in -20_000..20_000 {
            let (x, exact) = (i as f32 / 1000.0, f64::from(i as f32 / 1000.0));
            let sigmoid_of = 1.0 / (1.0 + (-exact).exp());
            for (actual, expected) in [
                (silu(x), exact * sigmoid_of),
                (gelu_tanh(x), tanh(exact)),
                (relu2(x), exact.max(0.0).powi(2)),
                (sigmoid(x), sigmoid_of),
            ] {
                let error = (f64::from(actual) - expected).abs();
                assert!(error <= 4e-7 * expected.abs() + 2e-7, "{x}: {actual} instead of {expected}");
            }
        }
        // Far out, where the exponential overflows or vanishes.
        assert!(
            [gelu_tanh(-1e4), silu(-1e4), sigmoid(-1e4), relu2(-1e4)].into_iter().all(|x| x.abs() < 1e-30)
        );
        assert_eq!([gelu_tanh(1e4), silu(1e4), sigmoid(1e4)], [1e4, 1e4, 1.0]);
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
