//! Small shapes of each family.

use crate::config::{HiddenAct, LayerType, LinearAttention, ModelConfig, NormPlacement, QkNorm, RopeScaling};

/// A family, by what distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The plain one; Mistral is one of them.
    Llama,
    /// Biases of q, k and v.
    Qwen2,
    /// Norms of each head's queries and keys.
    Qwen3,
    /// Sliding windows, four norms a layer, GELU.
    Gemma3,
    /// LongRoPE on a part of each head.
    Phi3,
    /// A layer without rotary positions.
    SmolLm3,
    /// Norms after the blocks, and of whole projections.
    Olmo2,
    /// Multipliers.
    Granite,
    /// Norms inside the blocks, and the square of ReLU.
    BitNet,
    /// Short convolutions.
    Lfm2,
    /// Gated DeltaNet, and gated attention.
    Qwen35,
}

impl Family {
    /// A small model of the family, without a vocabulary.
    pub(super) fn config(self) -> ModelConfig {
        let llama = ModelConfig {
            model_type: format!("{self:?}").to_lowercase(),
            hidden_size: 96,
            intermediate_size: 160,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 24,
            rms_norm_eps: 1e-5,
            rope_theta: 10000.0,
            ..ModelConfig::default()
        };
        use LayerType::{Conv, FullAttention, LinearAttention as Linear, SlidingAttention};
        match self {
            Family::Llama => llama,
            Family::Qwen2 => ModelConfig { attention_bias: true, ..llama },
            Family::Qwen3 => ModelConfig { qk_norm: Some(QkNorm::Head), head_dim: 32, ..llama },
            Family::Gemma3 => ModelConfig {
                num_hidden_layers: 3,
                layer_types: vec![SlidingAttention, FullAttention, SlidingAttention],
                sliding_window: Some(37),
                rope_theta: 1e6,
                rope_scaling: Some(RopeScaling::Linear { factor: 2.0 }),
                rope_local_base_freq: Some(1e4),
                qk_norm: Some(QkNorm::Head),
                norm_placement: NormPlacement::Sandwich,
                hidden_act: HiddenAct::GeluPytorchTanh,
                embedding_multiplier: Some(96f32.sqrt()),
                attention_multiplier: Some(0.25),
                ..llama
            },
            Family::Phi3 => ModelConfig {
                rotary_dim: Some(18),
                rope_scaling: Some(RopeScaling::Longrope {
                    short_factor: (0..9).map(|i| 1.0 + f64::from(i) / 16.0).collect(),
                    long_factor: (0..9).map(|i| 1.5 + f64::from(i)).collect(),
                    original_max_position_embeddings: 128,
                    attention_factor: 1.125,
                }),
                layer_types: vec![SlidingAttention; 2],
                sliding_window: Some(200),
                ..llama
            },
            Family::SmolLm3 => ModelConfig { no_rope_layers: vec![1], ..llama },
            Family::Olmo2 => ModelConfig {
                qk_norm: Some(QkNorm::Projection),
                norm_placement: NormPlacement::Post,
                ..llama
            },
            Family::Granite => ModelConfig {
                embedding_multiplier: Some(12.0),
                attention_multiplier: Some(0.05),
                residual_multiplier: Some(0.22),
                logits_scaling: Some(6.0),
                ..llama
            },
            Family::BitNet => ModelConfig { sub_norms: true, hidden_act: HiddenAct::Relu2, ..llama },
            Family::Lfm2 => ModelConfig {
                num_hidden_layers: 3,
                layer_types: vec![Conv, FullAttention, Conv],
                conv_kernel: Some(3),
                qk_norm: Some(QkNorm::Head),
                ..llama
            },
            Family::Qwen35 => ModelConfig {
                num_hidden_layers: 3,
                layer_types: vec![Linear, Linear, FullAttention],
                linear_attention: Some(LinearAttention {
                    num_key_heads: 2,
                    num_value_heads: 4,
                    key_head_dim: 16,
                    value_head_dim: 24,
                    conv_kernel: 4,
                    interleaved: false,
                }),
                qk_norm: Some(QkNorm::Head),
                attention_gate: true,
                rotary_dim: Some(6),
                ..llama
            },
        }
    }
}
