//! Rotary position embeddings (arXiv 2104.09864) in the half-rotation form of Hugging Face, with the scaling
//! variants of its `rope_scaling`.

use crate::config::{ModelConfig, RopeScaling};
use std::f64::consts::PI;

/// Frequencies of the rotations of a head, and a factor on their sines and cosines.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    /// Radians per position, (head_dim / 2).
    frequencies: Vec<f64>,
    factor: f64,
}

impl Rope {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let half = config.head_dim / 2;
        let base = config.rope_theta;
        let mut frequencies: Vec<f64> =
            (0..half).map(|i| libm::pow(base, -(i as f64) / half as f64)).collect();
        let mut attention = 1.0;
        match config.rope_scaling {
            None => {}
            Some(RopeScaling::Linear { factor }) => {
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            Some(RopeScaling::Llama3 {
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
            Some(RopeScaling::Yarn {
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
                let high = libm::ceil(dimension(beta_slow.unwrap_or(1.0))).min(config.head_dim as f64 - 1.0);
                let width = if high > low { high - low } else { 0.001 };
                for (i, frequency) in frequencies.iter_mut().enumerate() {
                    let stretch = ((i as f64 - low) / width).clamp(0.0, 1.0);
                    *frequency *= (1.0 - stretch) + stretch / factor;
                }
                let default = if factor > 1.0 { 0.1 * libm::log(factor) + 1.0 } else { 1.0 };
                attention = attention_factor.unwrap_or(default);
            }
        }
        Rope { frequencies, factor: attention }
    }

    /// Writes cosines and sines of a position, each (head_dim / 2).
    pub(crate) fn angles(&self, position: usize, cos: &mut [f32], sin: &mut [f32]) {
        for ((&frequency, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let (s, c) = libm::sincos(position as f64 * frequency);
            *cos = (c * self.factor) as f32;
            *sin = (s * self.factor) as f32;
        }
    }
}

/// Rotates each head of `x`, (heads, head_dim).
pub(crate) fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        for (((a, b), &cos), &sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelType;

    fn config(head_dim: usize, rope_theta: f64, rope_scaling: Option<RopeScaling>) -> ModelConfig {
        ModelConfig {
            model_type: ModelType::Llama,
            hidden_size: head_dim,
            intermediate_size: 1,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            head_dim,
            vocab_size: 1,
            max_position_embeddings: 1,
            rms_norm_eps: 0.0,
            rope_theta,
            rope_scaling,
            tie_word_embeddings: true,
            attention_bias: false,
            bos_token_id: None,
            eos_token_ids: vec![],
        }
    }

    fn close(actual: &[f64], expected: &[f64]) {
        for (a, b) in actual.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-6 * b.abs(), "{actual:?} instead of {expected:?}");
        }
    }

    /// Expected values: transformers' `ROPE_INIT_FUNCTIONS` formulas evaluated by hand in Python.
    #[test]
    fn frequencies_of_the_variants() {
        close(&Rope::new(&config(8, 10000.0, None)).frequencies, &[1.0, 0.1, 0.01, 0.001]);
        let linear = Some(RopeScaling::Linear { factor: 4.0 });
        close(&Rope::new(&config(8, 10000.0, linear)).frequencies, &[0.25, 0.025, 0.0025, 0.00025]);
        let llama3 = Some(RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        });
        let frequencies = Rope::new(&config(64, 500_000.0, llama3)).frequencies;
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
        let rope = Rope::new(&config(8, 10000.0, None));
        let dot = |a: usize, b: usize| {
            let turned = |position| {
                let (mut cos, mut sin) = ([0.0; 4], [0.0; 4]);
                rope.angles(position, &mut cos, &mut sin);
                let mut x = [0.3, -1.0, 0.5, 2.0, 1.0, 0.7, -0.2, 0.4];
                rotate(&mut x, &cos, &sin);
                x
            };
            turned(a).iter().zip(turned(b)).map(|(a, b)| a * b).sum::<f32>()
        };
        assert!((dot(5, 5) - dot(0, 0)).abs() < 1e-5);
        assert!((dot(3, 10) - dot(103, 110)).abs() < 1e-4);
        assert!((dot(3, 10) - dot(3, 11)).abs() > 1e-3);
    }
}
