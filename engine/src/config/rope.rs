//! How rotary position embeddings are scaled.

use serde::{Deserialize, Serialize};

/// How rotary position embeddings are scaled beyond the trained context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase", deny_unknown_fields)]
pub enum RopeScaling {
    /// Positions divided by `factor` ("linear" in transformers).
    Linear {
        /// Factor by which the context is stretched.
        factor: f64,
    },
    /// Llama 3.1's frequency-dependent scaling.
    Llama3 {
        /// Factor by which the lowest frequencies are stretched.
        factor: f64,
        /// Wavelengths above original / low_freq_factor are stretched fully.
        low_freq_factor: f64,
        /// Wavelengths below original / high_freq_factor are unchanged.
        high_freq_factor: f64,
        /// Context the model was first trained with.
        original_max_position_embeddings: u32,
    },
    /// YaRN (arXiv 2309.00071), as transformers computes it.
    Yarn {
        /// Factor by which the context is stretched.
        factor: f64,
        /// Context the model was first trained with.
        original_max_position_embeddings: u32,
        /// Rotations above which a frequency is unchanged; default 32.
        #[serde(default)]
        beta_fast: Option<f64>,
        /// Rotations below which a frequency is stretched fully; default 1.
        #[serde(default)]
        beta_slow: Option<f64>,
        /// Factor on sin and cos; default 0.1 ln(factor) + 1.
        #[serde(default)]
        attention_factor: Option<f64>,
    },
    /// LongRoPE (arXiv 2402.13753), as transformers computes it: a divisor of each frequency.
    Longrope {
        /// Divisors for contexts up to `original_max_position_embeddings`, one for each frequency.
        short_factor: Vec<f64>,
        /// Divisors for longer contexts.
        long_factor: Vec<f64>,
        /// Context the model was first trained with.
        original_max_position_embeddings: u32,
        /// Factor on sin and cos.
        attention_factor: f64,
    },
}

impl RopeScaling {
    /// Whether its numbers can be computed with, for this number of frequencies.
    pub(super) fn is_valid(&self, frequencies: usize) -> bool {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        match self {
            RopeScaling::Linear { factor } => positive(*factor),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                [*factor, *low_freq_factor, *high_freq_factor].into_iter().all(positive)
                    && high_freq_factor > low_freq_factor
                    && *original_max_position_embeddings > 0
            }
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                attention_factor,
            } => {
                positive(*factor)
                    && *original_max_position_embeddings > 0
                    && [beta_fast, beta_slow, attention_factor].into_iter().flatten().copied().all(positive)
            }
            RopeScaling::Longrope {
                short_factor,
                long_factor,
                original_max_position_embeddings,
                attention_factor,
            } => {
                [short_factor, long_factor]
                    .into_iter()
                    .all(|factors| factors.len() == frequencies && factors.iter().copied().all(positive))
                    && *original_max_position_embeddings > 0
                    && positive(*attention_factor)
            }
        }
    }
}
