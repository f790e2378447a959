//! Model configuration, in the names of Hugging Face's `config.json`.
//!
//! A model family is nothing that the engine asks for: what distinguishes one from plain Llama is a *feature*, a field that is
//! absent where a model is as Llama is. A file that has a field, or a value, that this version does not know is refused by
//! name.

mod features;
mod rope;
mod validate;

pub use features::{HiddenAct, LayerType, LinearAttention, NormPlacement, QkNorm, Rotation, Signs};
pub use rope::RopeScaling;
pub use validate::ConfigError;

use serde::{Deserialize, Serialize};

/// Shape, constants and features of a model. The default is an empty model, for `..ModelConfig::default()`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Family, for display: Hugging Face's `model_type`.
    pub model_type: String,
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

    /// What each layer does with the tokens before its own; empty if all have full attention.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_types: Vec<LayerType>,
    /// Positions that sliding attention sees, the token's own included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// Base of the rotary frequencies in layers of sliding attention, which then have no scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_local_base_freq: Option<f64>,
    /// The first elements of a head, which are rotated; even, by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_dim: Option<usize>,
    /// Attention layers without rotary positions, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_rope_layers: Vec<usize>,
    /// RMSNorm of queries and keys before their rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<QkNorm>,
    /// Attention's result is multiplied by the sigmoid of a projection of its input, before o_proj.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention_gate: bool,
    /// Factor on attention scores; by default 1 / sqrt(head_dim).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_multiplier: Option<f32>,
    /// Where the norms of a layer are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm_placement: NormPlacement,
    /// RMSNorm before o_proj and before down_proj.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sub_norms: bool,
    /// Activation function of the feed-forward layer's gate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hidden_act: HiddenAct,
    /// Factor on the embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_multiplier: Option<f32>,
    /// Factor on what a block adds to the residual stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_multiplier: Option<f32>,
    /// Divisor of the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits_scaling: Option<f32>,
    /// Tokens that the short convolution of a `conv` layer sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv_kernel: Option<usize>,
    /// Shape of `linear_attention` layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_attention: Option<LinearAttention>,
    /// Rotation of the inputs of some matrices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ModelConfig {
    /// Rows of k_proj and of v_proj.
    pub fn kv_dim(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Rows of q_proj and columns of o_proj.
    pub fn q_dim(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// What a layer does with the tokens before its own.
    pub fn layer_type(&self, layer: usize) -> LayerType {
        self.layer_types.get(layer).copied().unwrap_or_default()
    }

    /// Number of layers with keys and values of earlier tokens.
    pub fn attention_layers(&self) -> usize {
        (0..self.num_hidden_layers).filter(|&layer| self.layer_type(layer).is_attention()).count()
    }

    /// Elements of a head that are rotated.
    pub fn rotary_dim(&self) -> usize {
        self.rotary_dim.unwrap_or(self.head_dim)
    }

    /// Whether inputs of this width can be rotated.
    pub fn rotates(&self, width: usize) -> bool {
        self.rotation.as_ref().is_some_and(|Rotation { block_size, signs }| {
            width.is_multiple_of(*block_size)
                && (signs.is_empty() || signs.iter().any(|signs| signs.width == width))
        })
    }

    /// Factor on attention scores.
    pub fn attention_scale(&self) -> f32 {
        self.attention_multiplier.unwrap_or_else(|| 1.0 / (self.head_dim as f32).sqrt())
    }
}
