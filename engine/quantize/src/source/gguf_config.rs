//! A GGUF file's metadata as a [`ModelConfig`].

use crate::QuantizeError;
use crate::dequantize::dequantize;
use crate::gguf::{Gguf, GgufError, Value};
use crate::tokenizer::TokenTable;
use edgellm::config::{ModelConfig, ModelType, RopeScaling};

const ARCHITECTURE: &str = "general.architecture";

/// The metadata keys of one architecture.
struct Keys<'g, 'a> {
    gguf: &'g Gguf<'a>,
    architecture: &'a str,
}

impl Keys<'_, '_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn has(&self, name: &str) -> bool {
        self.gguf.get(&self.key(name)).is_some()
    }

    fn number(&self, name: &str) -> Result<usize, GgufError> {
        let key = self.key(name);
        let value = self.gguf.u64(&key)?;
        usize::try_from(value).map_err(|_| GgufError::WrongValue {
            key,
            found: value.to_string(),
            expected: "a number that fits memory",
        })
    }

    fn number_or(&self, name: &str, default: usize) -> Result<usize, GgufError> {
        if self.has(name) { self.number(name) } else { Ok(default) }
    }

    fn float(&self, name: &str) -> Result<Option<f64>, GgufError> {
        if self.has(name) { self.gguf.f64(&self.key(name)).map(Some) } else { Ok(None) }
    }
}

/// The family of the model.
///
/// # Errors
/// If the file holds something else, or a family that is not supported.
pub(super) fn model_type(gguf: &Gguf<'_>) -> Result<ModelType, QuantizeError> {
    let refuse = |what, found: &str, supported| {
        Err(QuantizeError::Unsupported { what, found: found.to_string(), supported })
    };
    let kind = gguf.get("general.type").and_then(Value::as_str).unwrap_or("model");
    if kind != "model" {
        return refuse("general.type", kind, "model: give the file of the language model itself");
    }
    match gguf.string(ARCHITECTURE)? {
        "llama" => Ok(ModelType::Llama),
        "qwen2" => Ok(ModelType::Qwen2),
        other => refuse(ARCHITECTURE, other, "llama, qwen2"),
    }
}

/// Reads the configuration of a model of this family.
pub(super) fn read(
    gguf: &Gguf<'_>,
    table: &TokenTable<'_>,
    model_type: ModelType,
) -> Result<ModelConfig, QuantizeError> {
    let architecture = gguf.string(ARCHITECTURE)?;
    let keys = Keys { gguf, architecture };
    let experts = keys.number_or("expert_count", 0)?;
    if experts > 0 {
        return Err(QuantizeError::Unsupported {
            what: "expert_count",
            found: experts.to_string(),
            supported: "models without experts",
        });
    }
    let hidden_size = keys.number("embedding_length")?;
    let num_attention_heads = keys.number("attention.head_count")?;
    let default_head_dim = hidden_size.checked_div(num_attention_heads).unwrap_or(0);
    let head_dim = keys.number_or("attention.key_length", default_head_dim)?;
    for name in ["attention.value_length", "rope.dimension_count"] {
        let found = keys.number_or(name, head_dim)?;
        if found != head_dim {
            return Err(QuantizeError::Unsupported {
                what: "attention.value_length or rope.dimension_count",
                found: format!("{found}, with heads of {head_dim}"),
                supported: "the width of a head",
            });
        }
    }
    let max_position_embeddings = keys.number("context_length")?;
    let vocab_size = gguf.tensor("token_embd.weight").map_or(table.len(), |tensor| tensor.shape[0]);
    let (bos_token_id, eos_token_ids) = table.ends(gguf)?;
    Ok(ModelConfig {
        model_type,
        hidden_size,
        intermediate_size: keys.number("feed_forward_length")?,
        num_hidden_layers: keys.number("block_count")?,
        num_attention_heads,
        num_key_value_heads: keys.number_or("attention.head_count_kv", num_attention_heads)?,
        head_dim,
        vocab_size,
        max_position_embeddings,
        rms_norm_eps: gguf.f64(&keys.key("attention.layer_norm_rms_epsilon"))? as f32,
        rope_theta: keys.float("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(&keys, head_dim, max_position_embeddings)?,
        tie_word_embeddings: gguf.tensor("output.weight").is_none(),
        attention_bias: gguf.tensor("blk.0.attn_q.bias").is_some(),
        bos_token_id,
        eos_token_ids,
    })
}

fn rope_scaling(
    keys: &Keys<'_, '_>,
    head_dim: usize,
    max_position_embeddings: usize,
) -> Result<Option<RopeScaling>, QuantizeError> {
    if let Some(tensor) = keys.gguf.tensor("rope_freqs.weight") {
        let mut factors = vec![0.0; tensor.shape[1]];
        if !dequantize(tensor.ggml_type, tensor.data, &mut factors) || factors.len() != head_dim / 2 {
            let (expected, actual) = ([1, head_dim / 2], tensor.shape);
            return Err(QuantizeError::Shape { name: tensor.name.to_string(), expected, actual });
        }
        let theta = keys.float("rope.freq_base")?.unwrap_or(10_000.0);
        return llama3_of(&factors, theta, head_dim);
    }
    let key = keys.key("rope.scaling.type");
    let kind = if keys.gguf.get(&key).is_some() { keys.gguf.string(&key)? } else { "" };
    let factor = keys.float("rope.scaling.factor")?.or(keys.float("rope.scale_linear")?).unwrap_or(1.0);
    let trained = keys.number_or("rope.scaling.original_context_length", max_position_embeddings)?;
    match kind {
        "none" => Ok(None),
        "" | "linear" => Ok((factor != 1.0 && factor != 0.0).then_some(RopeScaling::Linear { factor })),
        "yarn" => Ok(Some(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: u32::try_from(trained).unwrap_or(u32::MAX),
            beta_fast: keys.float("rope.scaling.yarn_beta_fast")?,
            beta_slow: keys.float("rope.scaling.yarn_beta_slow")?,
            attention_factor: None,
        })),
        other => Err(QuantizeError::Unsupported {
            what: "rope.scaling.type",
            found: other.to_string(),
            supported: "none, linear, yarn, and Llama 3's rope_freqs.weight",
        }),
    }
}

/// Llama 3's parameters, recovered from the frequency divisors that llama.cpp computes from them.
///
/// The file holds only the divisors; all published models use the same bounds, with factors 8 and 32. Anything that does
/// not match is rejected rather than approximated.
fn llama3_of(divisors: &[f32], theta: f64, head_dim: usize) -> Result<Option<RopeScaling>, QuantizeError> {
    let factor = divisors.iter().copied().fold(1.0, f32::max);
    if factor == 1.0 {
        return Ok(None);
    }
    let (factor, low, high, trained) = (f64::from(factor), 1.0, 4.0, 8192_u32);
    let context = f64::from(trained);
    let matches = divisors.iter().enumerate().all(|(i, &divisor)| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * i as f64 / head_dim as f64);
        let expected = if wavelength < context / high {
            1.0
        } else if wavelength > context / low {
            factor
        } else {
            let smooth = (context / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        (f64::from(divisor) - expected).abs() <= 1e-3 * expected
    });
    if !matches {
        return Err(QuantizeError::Unsupported {
            what: "rope_freqs.weight",
            found: format!("divisors up to {factor}"),
            supported: "Llama 3's: low_freq_factor 1, high_freq_factor 4, 8192 trained positions",
        });
    }
    Ok(Some(RopeScaling::Llama3 {
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: trained,
    }))
}
