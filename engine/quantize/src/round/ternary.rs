//! weight = scale * (code - 1), codes 0, 1, 2.

use super::{inverse, nearest};
use edgellm_kernels::layout::{f16_to_f32, f32_to_f16};

/// Chooses ternary codes; keeps the buffer for sorting.
#[derive(Debug, Default)]
pub(crate) struct Ternary {
    magnitudes: Vec<u32>,
}

impl Ternary {
    /// The ternary codes with the least squared error for a group; returns the scale as half-precision bits.
    ///
    /// If the k largest magnitudes become +-scale, the best scale is their mean and the error falls by
    /// (their sum)^2 / k. So one pass over the sorted magnitudes finds the optimum.
    pub(crate) fn round(&mut self, x: &[f32], codes: &mut [u8]) -> u16 {
        self.magnitudes.clear();
        // The bits of non-negative floats sort like the floats.
        self.magnitudes.extend(x.iter().map(|x| x.to_bits() & 0x7fff_ffff));
        self.magnitudes.sort_unstable_by(|a, b| b.cmp(a));
        let (mut sum, mut best_gain, mut scale) = (0.0_f64, 0.0, 0.0);
        for (count, &bits) in (1_u32..).zip(&self.magnitudes) {
            sum += f64::from(f32::from_bits(bits));
            let gain = sum * sum / f64::from(count);
            if gain > best_gain {
                (best_gain, scale) = (gain, (sum / f64::from(count)) as f32);
            }
        }
        let scale = f32_to_f16(scale);
        let inverse = inverse(f16_to_f32(scale));
        for (code, &x) in codes.iter_mut().zip(x) {
            *code = nearest(x * inverse + 1.0, 2.0) as u8;
        }
        scale
    }
}
