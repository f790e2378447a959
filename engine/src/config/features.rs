//! What distinguishes models from plain Llama.

use serde::{Deserialize, Serialize};

/// What a layer does with the tokens before its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Attention to all of them.
    #[default]
    FullAttention,
    /// Attention to the last [`sliding_window`](super::ModelConfig::sliding_window) positions.
    SlidingAttention,
    /// A gated short convolution, as in LFM2 (arXiv 2511.23404).
    Conv,
    /// Gated DeltaNet (arXiv 2412.06464), as in Qwen3-Next and Qwen3.5.
    LinearAttention,
}

impl LayerType {
    /// Whether it keeps keys and values of earlier tokens; the others keep a state.
    pub const fn is_attention(self) -> bool {
        matches!(self, LayerType::FullAttention | LayerType::SlidingAttention)
    }
}

/// What RMSNorm of queries and keys normalizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Each head; the weight has head_dim elements.
    Head,
    /// All heads together; the weight has q_dim or kv_dim elements.
    Projection,
}

/// Where the norms of a layer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// Before attention and before the feed-forward layer.
    #[default]
    Pre,
    /// After both, before the residual stream.
    Post,
    /// Before and after both.
    Sandwich,
}

/// Activation function of a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenAct {
    /// x * sigmoid(x).
    #[default]
    Silu,
    /// GELU (arXiv 1606.08415) in its approximation by tanh.
    GeluPytorchTanh,
    /// The square of ReLU.
    Relu2,
}

/// Shape of Gated DeltaNet layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearAttention {
    /// Heads of queries and keys.
    pub num_key_heads: usize,
    /// Heads of values, a multiple of `num_key_heads`.
    pub num_value_heads: usize,
    /// Width of a head of queries and keys.
    pub key_head_dim: usize,
    /// Width of a head of values.
    pub value_head_dim: usize,
    /// Tokens that the convolution before them sees.
    pub conv_kernel: usize,
    /// Whether the value heads that share a key head stand apart, as GGUF files keep them: value head i reads key head i modulo
    /// their number.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub interleaved: bool,
}

impl LinearAttention {
    /// Elements of all queries, or of all keys, of a token.
    pub const fn key_dim(&self) -> usize {
        self.num_key_heads * self.key_head_dim
    }

    /// Elements of all values of a token.
    pub const fn value_dim(&self) -> usize {
        self.num_value_heads * self.value_head_dim
    }

    /// Elements of queries, keys and values of a token, which the convolution sees.
    pub const fn conv_dim(&self) -> usize {
        2 * self.key_dim() + self.value_dim()
    }
}
