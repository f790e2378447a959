//! Every number of a configuration, checked once.

use super::{LayerType, ModelConfig};

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

fn check(field: &'static str, value: impl ToString, ok: bool, rule: &'static str) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError { field, value: value.to_string(), rule }) }
}

fn range(field: &'static str, value: usize, max: usize, rule: &'static str) -> Result<(), ConfigError> {
    check(field, value, (1..=max).contains(&value), rule)
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

impl ModelConfig {
    /// Checks every number, so that computing with them cannot overflow or divide by zero.
    ///
    /// # Errors
    /// [`ConfigError`] names the first wrong field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_shape()?;
        self.validate_attention()?;
        self.validate_layers()?;
        self.validate_multipliers()?;
        self.validate_rotation()?;
        let vocab = self.vocab_size as u64;
        for id in self.eos_token_ids.iter().chain(&self.bos_token_id) {
            let rule = "a token id must be below vocab_size";
            check("eos_token_ids / bos_token_id", id, u64::from(*id) < vocab, rule)?;
        }
        Ok(())
    }

    fn validate_shape(&self) -> Result<(), ConfigError> {
        const UP_TO_1024: &str = "it must be in 1..=1024";
        range("hidden_size", self.hidden_size, 1 << 17, "it must be in 1..=131072")?;
        range("intermediate_size", self.intermediate_size, 1 << 20, "it must be in 1..=1048576")?;
        range("num_hidden_layers", self.num_hidden_layers, 1 << 10, UP_TO_1024)?;
        range("num_attention_heads", self.num_attention_heads, 1 << 10, UP_TO_1024)?;
        range("num_key_value_heads", self.num_key_value_heads, 1 << 10, UP_TO_1024)?;
        range("head_dim", self.head_dim, 1 << 10, UP_TO_1024)?;
        range("vocab_size", self.vocab_size, 1 << 22, "it must be in 1..=4194304")?;
        range("max_position_embeddings", self.max_position_embeddings, 1 << 27, "it must be in 1..=2^27")?;
        let eps = self.rms_norm_eps;
        check("rms_norm_eps", eps, eps.is_finite() && eps >= 0.0, "it must be finite and not negative")
    }

    fn validate_attention(&self) -> Result<(), ConfigError> {
        check(
            "num_attention_heads",
            self.num_attention_heads,
            self.num_attention_heads.is_multiple_of(self.num_key_value_heads),
            "it must be a multiple of num_key_value_heads",
        )?;
        check("head_dim", self.head_dim, self.head_dim.is_multiple_of(2), "it must be even")?;
        let rotary = self.rotary_dim();
        let rule = "it must be even, and between 2 and head_dim";
        check("rotary_dim", rotary, rotary.is_multiple_of(2) && (2..=self.head_dim).contains(&rotary), rule)?;
        check("rope_theta", self.rope_theta, is_positive(self.rope_theta), "it must be positive")?;
        if let Some(theta) = self.rope_local_base_freq {
            check("rope_local_base_freq", theta, is_positive(theta), "it must be positive")?;
        }
        if let Some(scaling) = &self.rope_scaling {
            let rule = "its factors must be positive, in order, and one for each frequency";
            check("rope_scaling", format!("{scaling:?}"), scaling.is_valid(rotary / 2), rule)?;
        }
        let layers = &self.no_rope_layers;
        let ok =
            layers.is_sorted_by(|a, b| a < b) && layers.last().is_none_or(|&l| l < self.num_hidden_layers);
        check("no_rope_layers", format!("{layers:?}"), ok, "it must name layers in ascending order")
    }

    fn validate_rotation(&self) -> Result<(), ConfigError> {
        let Some(rotation) = &self.rotation else { return Ok(()) };
        let block = rotation.block_size;
        let rule = "it must be a power of two in 2..=32768";
        check("rotation", block, block.is_power_of_two() && (2..=32768).contains(&block), rule)?;
        for (index, signs) in rotation.signs.iter().enumerate() {
            let first = rotation.signs[..index].iter().all(|before| before.width != signs.width);
            let ok =
                first && signs.width > 0 && signs.width.is_multiple_of(block) && signs.unpack().is_some();
            let rule = "each width must be whole blocks, appear once, and have a digit for four elements";
            check("rotation", format!("signs for width {}", signs.width), ok, rule)?;
        }
        Ok(())
    }

    fn validate_layers(&self) -> Result<(), ConfigError> {
        let (types, layers) = (&self.layer_types, self.num_hidden_layers);
        let ok = types.is_empty() || types.len() == layers;
        check(
            "layer_types",
            format!("a list of {}", types.len()),
            ok,
            "it must have num_hidden_layers types",
        )?;
        const NEEDED: &str = "a type in layer_types needs it";
        if types.contains(&LayerType::SlidingAttention) {
            range("sliding_window", self.sliding_window.unwrap_or(0), usize::MAX, NEEDED)?;
        }
        if types.contains(&LayerType::Conv) {
            let kernel = self.conv_kernel.unwrap_or(0);
            check("conv_kernel", kernel, (2..=16).contains(&kernel), "it must be in 2..=16 for conv layers")?;
        }
        if types.contains(&LayerType::LinearAttention) {
            let Some(shape) = self.linear_attention else {
                return check("linear_attention", "absent", false, NEEDED);
            };
            let heads = [shape.num_key_heads, shape.num_value_heads];
            let dims = [shape.key_head_dim, shape.value_head_dim];
            let ok = heads.into_iter().all(|heads| (1..=1024).contains(&heads))
                && dims.into_iter().all(|dim| (1..=256).contains(&dim))
                && shape.num_value_heads.is_multiple_of(shape.num_key_heads)
                && (2..=16).contains(&shape.conv_kernel);
            let rule = "it must have 1..=1024 heads of 1..=256 elements, value heads in multiples of key heads, and a \
                        convolution of 2..=16 tokens";
            check("linear_attention", format!("{shape:?}"), ok, rule)?;
        }
        Ok(())
    }

    fn validate_multipliers(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("attention_multiplier", self.attention_multiplier),
            ("embedding_multiplier", self.embedding_multiplier),
            ("residual_multiplier", self.residual_multiplier),
            ("logits_scaling", self.logits_scaling),
        ] {
            let value = value.unwrap_or(1.0);
            check(field, value, is_positive(f64::from(value)), "it must be positive")?;
        }
        Ok(())
    }
}
