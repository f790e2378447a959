//! Model configuration, in the names of Hugging Face's `config.json`.

use serde::{Deserialize, Serialize};

/// Model families that the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelType {
    /// Llama 2, 3, 3.1, 3.2, SmolLM, SmolLM2, TinyLlama, ...
    Llama,
    /// Qwen2 and Qwen2.5: Llama with biases in q_proj, k_proj and v_proj.
    Qwen2,
}

/// How rotary position embeddings are scaled beyond the trained context.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
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
}

/// Shape and constants of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Family.
    pub model_type: ModelType,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the number of query heads.
    pub num_key_value_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest context.
    pub max_position_embeddings: usize,
    /// Epsilon of RMSNorm.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// The LM head is the embedding.
    pub tie_word_embeddings: bool,
    /// q_proj, k_proj and v_proj have biases.
    pub attention_bias: bool,
    /// BOS token, where the model uses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token_id: Option<u32>,
    /// End tokens (EOS).
    pub eos_token_ids: Vec<u32>,
}

/// An impossible configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("model configuration: {field} is {value}, but {rule}")]
pub struct ConfigError {
    /// The field, by Hugging Face's name.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl ModelConfig {
    /// Checks every number, so that computing with them cannot overflow or divide by zero.
    ///
    /// # Errors
    /// [`ConfigError`] names the first wrong field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |field, value: String, ok: bool, rule| {
            if ok { Ok(()) } else { Err(ConfigError { field, value, rule }) }
        };
        let range = |field, value: usize, max: usize, rule| {
            check(field, value.to_string(), (1..=max).contains(&value), rule)
        };
        range("hidden_size", self.hidden_size, 1 << 17, "it must be in 1..=131072")?;
        range("intermediate_size", self.intermediate_size, 1 << 20, "it must be in 1..=1048576")?;
        range("num_hidden_layers", self.num_hidden_layers, 1 << 10, "it must be in 1..=1024")?;
        range("num_attention_heads", self.num_attention_heads, 1 << 10, "it must be in 1..=1024")?;
        range("num_key_value_heads", self.num_key_value_heads, 1 << 10, "it must be in 1..=1024")?;
        range("head_dim", self.head_dim, 1 << 10, "it must be in 1..=1024")?;
        range("vocab_size", self.vocab_size, 1 << 22, "it must be in 1..=4194304")?;
        range("max_position_embeddings", self.max_position_embeddings, 1 << 27, "it must be in 1..=2^27")?;
        check(
            "num_attention_heads",
            self.num_attention_heads.to_string(),
            self.num_attention_heads.is_multiple_of(self.num_key_value_heads),
            "it must be a multiple of num_key_value_heads",
        )?;
        check("head_dim", self.head_dim.to_string(), self.head_dim.is_multiple_of(2), "it must be even")?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        check(
            "rms_norm_eps",
            self.rms_norm_eps.to_string(),
            self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0,
            "it must be finite and not negative",
        )?;
        check("rope_theta", self.rope_theta.to_string(), positive(self.rope_theta), "it must be positive")?;
        if let Some(scaling) = self.rope_scaling {
            let ok = match scaling {
                RopeScaling::Linear { factor } => positive(factor),
                RopeScaling::Llama3 {
                    factor,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings,
                } => {
                    positive(factor)
                        && positive(low_freq_factor)
                        && positive(high_freq_factor)
                        && high_freq_factor > low_freq_factor
                        && original_max_position_embeddings > 0
                }
                RopeScaling::Yarn {
                    factor,
                    original_max_position_embeddings,
                    beta_fast,
                    beta_slow,
                    attention_factor,
                } => {
                    positive(factor)
                        && original_max_position_embeddings > 0
                        && [beta_fast, beta_slow, attention_factor].into_iter().flatten().all(positive)
                }
            };
            check("rope_scaling", format!("{scaling:?}"), ok, "its factors must be positive and in order")?;
        }
        let vocab = self.vocab_size as u64;
        for id in self.eos_token_ids.iter().chain(&self.bos_token_id) {
            check(
                "eos_token_ids / bos_token_id",
                id.to_string(),
                u64::from(*id) < vocab,
                "a token id must be below vocab_size",
            )?;
        }
        Ok(())
    }

    /// Rows of k_proj and of v_proj.
    pub fn kv_dim(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Rows of q_proj and columns of o_proj.
    pub fn q_dim(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }
}
