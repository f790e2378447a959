//! `config.json` as a [`ModelConfig`].

use crate::QuantizeError;
use edgellm::config::{ModelConfig, ModelType, RopeScaling};
use serde::Deserialize;

const FILE: &str = "config.json";

/// The fields of `config.json`. Older and newer versions of transformers put the rotary settings in different places.
#[derive(Deserialize)]
struct HfConfig {
    model_type: String,
    #[serde(default, rename = "_name_or_path")]
    name: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(default = "default_context")]
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    rms_norm_eps: f32,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    use_sliding_window: bool,
    hidden_act: Option<String>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<serde_json::Value>,
}

fn default_context() -> usize {
    2048
}

fn default_eps() -> f32 {
    1e-6
}

/// `rope_scaling` or `rope_parameters`.
#[derive(Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<u32>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
}

/// Reads the configuration, and the model's name if it is given. Token ids are set by [`end_tokens`](super::end_tokens),
/// `attention_bias` follows from the tensors.
pub(super) fn read(bytes: &[u8]) -> Result<(ModelConfig, Option<String>), QuantizeError> {
    let hf: HfConfig = serde_json::from_slice(bytes).map_err(|error| QuantizeError::json(FILE, error))?;
    let refuse = |what, found: String, supported| Err(QuantizeError::Unsupported { what, found, supported });
    let model_type = match hf.model_type.as_str() {
        "llama" => ModelType::Llama,
        "qwen2" => ModelType::Qwen2,
        _ => return refuse("model_type", hf.model_type, "llama, qwen2"),
    };
    if hf.quantization_config.is_some() {
        return refuse("quantization_config", "present".to_string(), "unquantized checkpoints");
    }
    if hf.use_sliding_window {
        return refuse("use_sliding_window", "true".to_string(), "full attention");
    }
    if let Some(factor) = hf.partial_rotary_factor
        && factor != 1.0
    {
        return refuse("partial_rotary_factor", factor.to_string(), "1");
    }
    match hf.hidden_act.as_deref() {
        None | Some("silu" | "swish") => {}
        Some(other) => return refuse("hidden_act", other.to_string(), "silu"),
    }
    let rope = hf.rope_scaling.as_ref().or(hf.rope_parameters.as_ref());
    let parameters_theta = hf.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
    let rope_scaling = match rope {
        Some(rope) => rope.scaling(hf.max_position_embeddings)?,
        None => None,
    };
    let config = ModelConfig {
        model_type,
        hidden_size: hf.hidden_size,
        intermediate_size: hf.intermediate_size,
        num_hidden_layers: hf.num_hidden_layers,
        num_attention_heads: hf.num_attention_heads,
        num_key_value_heads: hf.num_key_value_heads.unwrap_or(hf.num_attention_heads),
        head_dim: match hf.head_dim {
            Some(head_dim) => head_dim,
            None => hf.hidden_size.checked_div(hf.num_attention_heads).unwrap_or(0),
        },
        vocab_size: hf.vocab_size,
        max_position_embeddings: hf.max_position_embeddings,
        rms_norm_eps: hf.rms_norm_eps,
        rope_theta: hf.rope_theta.or(parameters_theta).unwrap_or(10_000.0),
        rope_scaling,
        tie_word_embeddings: hf.tie_word_embeddings,
        attention_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    };
    Ok((config, hf.name.filter(|name| !name.is_empty())))
}

impl Rope {
    fn scaling(&self, max_position_embeddings: usize) -> Result<Option<RopeScaling>, QuantizeError> {
        let need = |value: Option<f64>, field: &str| {
            value.ok_or_else(|| QuantizeError::json(FILE, format!("rope_scaling has no {field}")))
        };
        let trained = self
            .original_max_position_embeddings
            .unwrap_or_else(|| u32::try_from(max_position_embeddings).unwrap_or(u32::MAX));
        Ok(match self.rope_type.as_deref() {
            None | Some("default") => None,
            Some("linear") => Some(RopeScaling::Linear { factor: need(self.factor, "factor")? }),
            Some("llama3") => Some(RopeScaling::Llama3 {
                factor: need(self.factor, "factor")?,
                low_freq_factor: need(self.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: need(self.high_freq_factor, "high_freq_factor")?,
                original_max_position_embeddings: trained,
            }),
            Some("yarn") => Some(RopeScaling::Yarn {
                factor: need(self.factor, "factor")?,
                original_max_position_embeddings: trained,
                beta_fast: self.beta_fast,
                beta_slow: self.beta_slow,
                attention_factor: self.attention_factor,
            }),
            Some(other) => {
                return Err(QuantizeError::Unsupported {
                    what: "rope_type",
                    found: other.to_string(),
                    supported: "default, linear, llama3, yarn",
                });
            }
        })
    }
}
