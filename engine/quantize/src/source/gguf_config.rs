//! A GGUF file's metadata as a [`ModelConfig`]: what all families have in common.

use crate::QuantizeError;
use crate::dequantize::dequantize;
use crate::family::{self, Family};
use crate::gguf::{Gguf, GgufError, Value};
use crate::source::refuse;
use crate::tokenizer::TokenTable;
use edgellm::config::{ModelConfig, RopeScaling};

const ARCHITECTURE: &str = "general.architecture";

/// The metadata keys of one architecture.
pub(crate) struct Keys<'g, 'a> {
    gguf: &'g Gguf<'a>,
    pub(crate) architecture: &'a str,
}

impl Keys<'_, '_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.gguf.get(&self.key(name)).is_some()
    }

    pub(crate) fn number(&self, name: &str) -> Result<usize, GgufError> {
        let key = self.key(name);
        let value = self.gguf.u64(&key)?;
        usize::try_from(value).map_err(|_| GgufError::WrongValue {
            key,
            found: value.to_string(),
            expected: "a number that fits memory",
        })
    }

    pub(crate) fn number_or(&self, name: &str, default: usize) -> Result<usize, GgufError> {
        if self.has(name) { self.number(name) } else { Ok(default) }
    }

    /// The elements of an array of numbers; a negative one is 0.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<usize>, GgufError> {
        let number =
            |value: Value<'_>| value.as_u64().and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
        Ok(self.gguf.array(&self.key(name))?.iter().map(number).collect())
    }

    pub(crate) fn float(&self, name: &str) -> Result<Option<f64>, GgufError> {
        if self.has(name) { self.gguf.f64(&self.key(name)).map(Some) } else { Ok(None) }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, GgufError> {
        Ok(self.gguf.get(&self.key(name)).and_then(Value::as_bool))
    }

    pub(crate) fn flags(&self, name: &str) -> Result<Option<Vec<bool>>, GgufError> {
        if !self.has(name) {
            return Ok(None);
        }
        let array = self.gguf.array(&self.key(name))?;
        Ok(Some(array.iter().map(|value| value.as_bool().unwrap_or(false)).collect()))
    }

    /// Rows of a tensor.
    pub(crate) fn rows(&self, tensor: &str) -> Option<usize> {
        self.gguf.tensor(tensor).map(|tensor| tensor.shape[0])
    }

    /// The elements of a vector, if the file has it.
    pub(crate) fn floats(&self, tensor: &str) -> Result<Option<Vec<f64>>, QuantizeError> {
        let Some(tensor) = self.gguf.tensor(tensor) else { return Ok(None) };
        let mut floats = vec![0.0; tensor.shape[1]];
        if !dequantize(tensor.ggml_type, tensor.data, &mut floats) {
            let (expected, actual) = ([1, tensor.shape[1]], tensor.shape);
            return Err(QuantizeError::Shape { name: tensor.name.to_string(), expected, actual });
        }
        Ok(Some(floats.into_iter().map(f64::from).collect()))
    }
}

/// The family of the model.
///
/// # Errors
/// If the file holds something else, or a family that is not supported.
pub(super) fn family(gguf: &Gguf<'_>) -> Result<&'static Family, QuantizeError> {
    let kind = gguf.get("general.type").and_then(Value::as_str).unwrap_or("model");
    if kind != "model" {
        return refuse("general.type", kind, "model: give the file of the language model itself");
    }
    family::of_gguf(gguf.string(ARCHITECTURE)?)
}

/// Reads the configuration of a model of this family.
pub(super) fn read(
    gguf: &Gguf<'_>,
    table: &TokenTable<'_>,
    family: &Family,
) -> Result<ModelConfig, QuantizeError> {
    let architecture = gguf.string(ARCHITECTURE)?;
    let keys = Keys { gguf, architecture };
    let experts = keys.number_or("expert_count", 0)?;
    if experts > 0 {
        return refuse("expert_count", experts, "models without experts");
    }
    let hidden_size = keys.number("embedding_length")?;
    let num_attention_heads = keys.number("attention.head_count")?;
    let default_head_dim = hidden_size.checked_div(num_attention_heads).unwrap_or(0);
    let head_dim = keys.number_or("attention.key_length", default_head_dim)?;
    let value_length = keys.number_or("attention.value_length", head_dim)?;
    if value_length != head_dim {
        let found = format!("{value_length}, with heads of {head_dim}");
        return refuse("attention.value_length", found, "the width of a head");
    }
    let rotary_dim = keys.number_or("rope.dimension_count", head_dim)?;
    let max_position_embeddings = keys.number("context_length")?;
    let vocab_size = gguf.tensor("token_embd.weight").map_or(table.len(), |tensor| tensor.shape[0]);
    let (bos_token_id, eos_token_ids) = table.ends(gguf)?;
    // Where the number differs from layer to layer, the family decides.
    let heads = gguf.get(&keys.key("attention.head_count_kv"));
    let num_key_value_heads = match heads.and_then(Value::as_array) {
        Some(_) => num_attention_heads,
        None => keys.number_or("attention.head_count_kv", num_attention_heads)?,
    };
    let mut config = ModelConfig {
        model_type: family.name.to_string(),
        hidden_size,
        intermediate_size: keys.number("feed_forward_length")?,
        num_hidden_layers: keys.number("block_count")?,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        rotary_dim: (rotary_dim != head_dim).then_some(rotary_dim),
        vocab_size,
        max_position_embeddings,
        rms_norm_eps: gguf.f64(&keys.key("attention.layer_norm_rms_epsilon"))? as f32,
        rope_theta: keys.float("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(&keys, rotary_dim, max_position_embeddings)?,
        tie_word_embeddings: gguf.tensor("output.weight").is_none(),
        bos_token_id,
        eos_token_ids,
        ..ModelConfig::default()
    };
    family.begin(&mut config)?;
    (family.read_gguf)(&keys, &mut config)?;
    Ok(config)
}

fn rope_scaling(
    keys: &Keys<'_, '_>,
    rotary_dim: usize,
    max_position_embeddings: usize,
) -> Result<Option<RopeScaling>, QuantizeError> {
    const DIVISORS: &str = "rope_freqs.weight";
    if let Some(divisors) = keys.floats(DIVISORS)? {
        if divisors.len() != rotary_dim / 2 {
            let (expected, actual) = ([1, rotary_dim / 2], [1, divisors.len()]);
            return Err(QuantizeError::Shape { name: DIVISORS.to_string(), expected, actual });
        }
        let theta = keys.float("rope.freq_base")?.unwrap_or(10_000.0);
        return Ok(scaling_of(divisors, theta, rotary_dim));
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
        // Phi-3's, whose factors are tensors.
        "longrope" => Ok(None),
        other => refuse("rope.scaling.type", other, "none, linear, yarn, longrope"),
    }
}

/// The scaling that divides the frequencies so: Llama 3's parameters where they give these divisors, else the divisors.
///
/// The file holds only the divisors; published Llama models use the same bounds, with factors 8 and 32.
fn scaling_of(divisors: Vec<f64>, theta: f64, rotary_dim: usize) -> Option<RopeScaling> {
    let factor = divisors.iter().copied().fold(1.0, f64::max);
    if divisors.iter().all(|&divisor| divisor == 1.0) {
        return None;
    }
    let (low, high, trained) = (1.0, 4.0, 8192_u32);
    let context = f64::from(trained);
    let matches = divisors.iter().enumerate().all(|(i, &divisor)| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * i as f64 / rotary_dim as f64);
        let expected = if wavelength < context / high {
            1.0
        } else if wavelength > context / low {
            factor
        } else {
            let smooth = (context / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        (divisor - expected).abs() <= 1e-3 * expected
    });
    Some(if matches {
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: trained,
        }
    } else {
        RopeScaling::Longrope {
            short_factor: divisors.clone(),
            long_factor: divisors,
            original_max_position_embeddings: trained,
            attention_factor: 1.0,
        }
    })
}
