//! Rotary position embeddings (arXiv 2104.09864) in the half-rotation form of Hugging Face, with the scaling
//! variants of its `rope_scaling`.

use crate::config::{ModelConfig, RopeScaling};
use std::f64::consts::PI;

/// The rotations of a model's layers.
#[derive(Clone, Debug)]
pub(crate) struct Ropes {
    /// Of layers with full attention, in contexts up to the one that the model was first trained with, and in longer ones.
    short: Rope,
    long: Rope,
    trained: usize,
    /// Of layers with sliding attention, where they have their own.
    local: Option<Rope>,
}

impl Ropes {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let rope =
            |longer| Rope::new(config.rope_theta, config.rotary_dim(), config.rope_scaling.as_ref(), longer);
        let trained = match config.rope_scaling {
            Some(RopeScaling::Longrope { original_max_position_embeddings: trained, .. }) => trained as usize,
            _ => usize::MAX,
        };
        let local =
            config.rope_local_base_freq.map(|theta| Rope::new(theta, config.rotary_dim(), None, false));
        Ropes { short: rope(false), long: rope(true), trained, local }
    }

    /// The rotation in layers with full attention, for sessions that can hold `capacity` positions. LongRoPE has one for
    /// each of two ranges of lengths; a session does not change from one to the other, because keys are cached rotated.
    pub(crate) fn global(&self, capacity: usize) -> &Rope {
        if capacity > self.trained { &self.long } else { &self.short }
    }

    /// The rotation in layers with sliding attention, if it is another.
    pub(crate) fn local(&self) -> Option<&Rope> {
        self.local.as_ref()
    }
}

/// Frequencies of the rotations of a head, and a factor on their sines and cosines.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    /// Radians per position, (rotary_dim / 2).
    frequencies: Vec<f64>,
    factor: f64,
}

impl Rope {
    fn new(base: f64, rotary_dim: usize, scaling: Option<&RopeScaling>, longer: bool) -> Self {
        let half = rotary_dim / 2;
        let mut frequencies: Vec<f64> =
            (0..half).map(|i| libm::pow(base, -(i as f64) / half as f64)).collect();
        let mut attention = 1.0;
        match scaling {
            None => {}
            Some(RopeScaling::Linear { factor }) => {
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            Some(&RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            }) => {
                let original = f64::from(original_max_position_embeddings);
                for frequency in &mut frequencies {
                    let turns = original * *frequency / (2.0 * PI);
                    // 1 above high_freq_factor turns: unchanged; 0 below low_freq_factor: stretched fully.
                    let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    let keep = keep.clamp(0.0, 1.0);
                    *frequency *= keep + (1.0 - keep) / factor;
                }
            }
            Some(&RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                attention_factor,
            }) => {
                let original = f64::from(original_max_position_embeddings);
                // The dimension that rotates `turns` times over the original context.
                let dimension =
                    |turns: f64| half as f64 * libm::log(original / (turns * 2.0 * PI)) / libm::log(base);
                let low = libm::floor(dimension(beta_fast.unwrap_or(32.0))).max(0.0);
                let high = libm::ceil(dimension(beta_slow.unwrap_or(1.0))).min(rotary_dim as f64 - 1.0);
                let width = if high > low { high - low } else { 0.001 };
                for (i, frequency) in frequencies.iter_mut().enumerate() {
                    let stretch = ((i as f64 - low) / width).clamp(0.0, 1.0);
                    *frequency *= (1.0 - stretch) + stretch / factor;
                }
                let default = if factor > 1.0 { 0.1 * libm::log(factor) + 1.0 } else { 1.0 };
                attention = attention_factor.unwrap_or(default);
            }
            Some(RopeScaling::Longrope { short_factor, long_factor, attention_factor, .. }) => {
                let factors = if longer { long_factor } else { short_factor };
                for (frequency, factor) in frequencies.iter_mut().zip(factors) {
                    *frequency /= factor;
                }
                attention = *attention_factor;
            }
        }
        Rope { frequencies, factor: attention }
    }

    /// Writes cosines and sines of a position, each (rotary_dim / 2).
    pub(crate) fn angles(&self, position: usize, cos: &mut [f32], sin: &mut [f32]) {
        for ((&frequency, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let (s, c) = libm::sincos(position as f64 * frequency);
            *cos = (c * self.factor) as f32;
            *sin = (s * self.factor) as f32;
        }
    }
}

/// Rotates the first elements of each head of `x`, (heads, head_dim), two for each cosine.
pub(crate) fn rotate(x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in x.chunks_exact_mut(head_dim) {
        let (first, second) = head[..2 * half].split_at_mut(half);
        for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn rope(rotary_dim: usize, base: f64, scaling: Option<RopeScaling>) -> Rope {
        Rope::new(base, rotary_dim, scaling.as_ref(), false)
    }

    fn close(actual: &[f64], expected: &[f64]) {
        for (a, b) in actual.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-6 * b.abs(), "{actual:?} instead of {expected:?}");
        }
    }

    /// Expected values: transformers' `ROPE_INIT_FUNCTIONS` formulas evaluated by hand in Python.
    #[test]
    fn frequencies_of_the_variants() {
        close(&rope(8, 10000.0, None).frequencies, &[1.0, 0.1, 0.01, 0.001]);
        let linear = Some(RopeScaling::Linear { factor: 4.0 });
        close(&rope(8, 10000.0, linear).frequencies, &[0.25, 0.025, 0.0025, 0.00025]);
        let llama3 = Some(RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        });
        let frequencies = rope(64, 500_000.0, llama3).frequencies;
        close(&frequencies[..1], &[1.0]);
        // Wavelength above 8192: divided by 32.
        close(&frequencies[31..], &[libm::pow(500_000.0, -31.0 / 32.0) / 32.0]);
        // In between: index 15, wavelength 2949.6, 2.7773 turns, keep 0.59243.
        let turns = 8192.0 * libm::pow(500_000.0, -15.0 / 32.0) / (2.0 * PI);
        let smooth = (turns - 1.0) / 3.0;
        let plain = libm::pow(500_000.0, -15.0 / 32.0);
        close(&frequencies[15..16], &[(1.0 - smooth) * plain / 32.0 + smooth * plain]);
        assert!((0.0..1.0).contains(&smooth));
    }

    #[test]
    fn rotation_keeps_lengths_and_relative_angles() {
        let rope = rope(8, 10000.0, None);
        let dot = |a: usize, b: usize| {
            let turned = |position| {
                let (mut cos, mut sin) = ([0.0; 4], [0.0; 4]);
                rope.angles(position, &mut cos, &mut sin);
                let mut x = [0.3, -1.0, 0.5, 2.0, 1.0, 0.7, -0.2, 0.4];
                rotate(&mut x, 8, &cos, &sin);
                x
            };
            turned(a).iter().zip(turned(b)).map(|(a, b)| a * b).sum::<f32>()
        };
        assert!((dot(5, 5) - dot(0, 0)).abs() < 1e-5);
        assert!((dot(3, 10) - dot(103, 110)).abs() < 1e-4);
        assert!((dot(3, 10) - dot(3, 11)).abs() > 1e-3);
    }

    #[test]
    fn longrope_divides_by_the_length_of_the_context() {
        let config = ModelConfig {
            head_dim: 8,
            rotary_dim: Some(4),
            rope_theta: 100.0,
            rope_scaling: Some(RopeScaling::Longrope {
                short_factor: vec![1.0, 2.0],
                long_factor: vec![4.0, 8.0],
                original_max_position_embeddings: 64,
                attention_factor: 1.25,
            }),
            ..ModelConfig::default()
        };
        let ropes = Ropes::new(&config);
        close(&ropes.global(64).frequencies, &[1.0, 0.05]);
        close(&ropes.global(65).frequencies, &[0.25, 0.0125]);
        let (mut cos, mut sin) = ([0.0; 2], [0.0; 2]);
        ropes.global(64).angles(0, &mut cos, &mut sin);
        assert_eq!((cos, sin), ([1.25; 2], [0.0; 2]));
        assert!(ropes.local().is_none());
    }

    #[test]
    fn what_is_not_rotated_stays() {
        let mut x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        rotate(&mut x, 3, &[0.0], &[1.0]);
        assert_eq!(x, [-2.0, 1.0, 3.0, -5.0, 4.0, 6.0]);
    }
}
