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

/// Rotation of the inputs of matrices that were rotated themselves, as in Bonsai 2: a matrix marked so in the directory is
/// multiplied with H (s * x), where H is the normalized Walsh-Hadamard matrix in blocks, and a row of such an embedding is
/// s * (H z).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Elements of a block, a power of two.
    pub block_size: usize,
    /// The signs s for each width of inputs; without any, there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<Signs>,
}

/// Signs of the elements of an input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signs {
    /// Number of elements.
    pub width: usize,
    /// Which elements are negated: hexadecimal digits of four elements each, the first in the lowest bit.
    pub negative: String,
}

impl Signs {
    /// Packs signs.
    pub fn pack(negative: &[bool]) -> Signs {
        let digit = |bits: &[bool]| {
            let bits = bits.iter().enumerate().map(|(bit, &negative)| u32::from(negative) << bit).sum();
            char::from_digit(bits, 16).unwrap_or('0')
        };
        Signs { width: negative.len(), negative: negative.chunks(4).map(digit).collect() }
    }

    /// 1 or -1 for each element; `None` if the digits are not as many as the width takes.
    pub fn unpack(&self) -> Option<Vec<f32>> {
        let digits: Option<Vec<u32>> = self.negative.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() == self.width.div_ceil(4))?;
        let signs =
            digits.iter().flat_map(|digit| (0..4).map(move |bit| 1.0 - 2.0 * (digit >> bit & 1) as f32));
        Some(signs.take(self.width).collect())
    }
}
