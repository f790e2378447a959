//! `config.json` as a [`ModelConfig`].

use super::files::read_json;
use crate::QuantizeError;
use edgellm::config::{ModelConfig, ModelType, RopeScaling};
use serde::Deserialize;
use serde_json::Value;

const FILE: &str = "config.json";
const SCALINGS: &str = "default, linear, llama3, yarn";

/// The fields of `config.json`. Older and newer versions of transformers put the rotary settings in different places.
#[derive(Deserialize)]
struct HfConfig {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(rename = "_name_or_path")]
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
    #[serde(default)]
    layer_types: Vec<String>,
    hidden_act: Option<String>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<Value>,
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
    rope_type: Option<String>,
    /// The older name of `rope_type`, which takes precedence.
    #[serde(rename = "type")]
    kind: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<u32>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
    partial_rotary_factor: Option<f64>,
    // What would change YaRN, and is not implemented.
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
}

fn refuse<T>(what: &'static str, found: impl ToString, supported: &'static str) -> Result<T, QuantizeError> {
    Err(QuantizeError::Unsupported { what, found: found.to_string(), supported })
}

/// Reads the configuration, and the model's name if it is given. Token ids are set by [`end_tokens`](super::end_tokens),
/// `attention_bias` follows from the tensors.
pub(super) fn read(bytes: &[u8]) -> Result<(ModelConfig, Option<String>), QuantizeError> {
    let hf: HfConfig = read_json(FILE, bytes)?;
    let model_type = hf.model_type()?;
    hf.check()?;
    let rope = hf.rope_scaling.as_ref().or(hf.rope_parameters.as_ref());
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
        rope_theta: hf.rope_theta()?,
        rope_scaling,
        tie_word_embeddings: hf.tie_word_embeddings,
        attention_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    };
    Ok((config, hf.name.filter(|name| !name.is_empty())))
}

impl HfConfig {
    /// The family, by its name or by that of the class that loads it.
    fn model_type(&self) -> Result<ModelType, QuantizeError> {
        const SUPPORTED: &str = "llama, qwen2";
        match (self.model_type.as_deref(), self.architectures.first().map(String::as_str)) {
            (Some("llama"), _) | (None, Some("LlamaForCausalLM")) => Ok(ModelType::Llama),
            (Some("qwen2"), _) | (None, Some("Qwen2ForCausalLM")) => Ok(ModelType::Qwen2),
            (Some(other), _) => refuse("model_type", other, SUPPORTED),
            (None, other) => refuse("model_type", other.unwrap_or("none"), SUPPORTED),
        }
    }

    /// Refuses what the engine does not compute.
    fn check(&self) -> Result<(), QuantizeError> {
        if let Some(quantization) = &self.quantization_config {
            let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("present");
            return refuse("quantization_config", method, "unquantized checkpoints, and GGUF files");
        }
        if self.use_sliding_window {
            return refuse("use_sliding_window", true, "full attention");
        }
        if let Some(other) = self.layer_types.iter().find(|kind| *kind != "full_attention") {
            return refuse("layer_types", other, "full_attention");
        }
        let ropes = || [&self.rope_scaling, &self.rope_parameters].into_iter().flatten();
        let partial = ropes().map(|rope| rope.partial_rotary_factor).chain([self.partial_rotary_factor]);
        if let Some(factor) = partial.flatten().find(|&factor| factor != 1.0) {
            return refuse("partial_rotary_factor", factor, "1");
        }
        match self.hidden_act.as_deref() {
            None | Some("silu" | "swish") => Ok(()),
            Some(other) => refuse("hidden_act", other, "silu"),
        }
    }

    /// The base of the rotary frequencies, wherever it stands.
    fn rope_theta(&self) -> Result<f64, QuantizeError> {
        let ropes = [&self.rope_parameters, &self.rope_scaling].into_iter().flatten();
        let mut given = ropes.map(|rope| rope.rope_theta).chain([self.rope_theta]).flatten();
        let theta = given.next().unwrap_or(10_000.0);
        match given.find(|&other| other != theta) {
            Some(other) => refuse("rope_theta", format!("{theta} and {other}"), "one value"),
            None => Ok(theta),
        }
    }
}

impl Rope {
    fn scaling(&self, max_position_embeddings: usize) -> Result<Option<RopeScaling>, QuantizeError> {
        let need = |value: Option<f64>, field: &str| {
            value.ok_or_else(|| QuantizeError::json(FILE, format!("rope_scaling has no {field}")))
        };
        let trained = self
            .original_max_position_embeddings
            .unwrap_or_else(|| u32::try_from(max_position_embeddings).unwrap_or(u32::MAX));
        Ok(match self.rope_type.as_deref().or(self.kind.as_deref()) {
            None if self.factor.is_some_and(|factor| factor != 1.0) => {
                return refuse("rope_type", "none, with a factor", SCALINGS);
            }
            None | Some("default") => None,
            Some("linear") => Some(RopeScaling::Linear { factor: need(self.factor, "factor")? }),
            Some("llama3") => Some(RopeScaling::Llama3 {
                factor: need(self.factor, "factor")?,
                low_freq_factor: need(self.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: need(self.high_freq_factor, "high_freq_factor")?,
                original_max_position_embeddings: trained,
            }),
            Some("yarn") => {
                if let Some(scale) = self.mscale.or(self.mscale_all_dim) {
                    return refuse("mscale or mscale_all_dim", scale, "YaRN without them");
                }
                if self.truncate == Some(false) {
                    return refuse("truncate", false, "true");
                }
                Some(RopeScaling::Yarn {
                    factor: need(self.factor, "factor")?,
                    original_max_position_embeddings: trained,
                    beta_fast: self.beta_fast,
                    beta_slow: self.beta_slow,
                    attention_factor: self.attention_factor,
                })
            }
            Some(other) => return refuse("rope_type", other, SCALINGS),
        })
    }
}
