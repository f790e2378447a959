//! Phi-3, Phi-3.5 and Phi-4-mini: fused projections, LongRoPE, sliding windows in some.

use super::{Family, Origin};
use crate::QuantizeError;
use crate::source::tensor::run;
use crate::source::{HfConfig, Keys};
use edgellm::config::{LayerType, ModelConfig, RopeScaling};

fn read_hugging_face(hf: &HfConfig, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    config.head_dim = config.hidden_size.checked_div(config.num_attention_heads).unwrap_or(0);
    if hf.sliding_window.is_some() && !hf.has_layer_types() {
        config.layer_types = hf.each_layer(|_| true);
    }
    Ok(())
}

fn read_gguf(keys: &Keys<'_, '_>, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    let window = keys.number_or("attention.sliding_window", 0)?;
    if window > 0 {
        config.sliding_window = Some(window);
        config.layer_types = vec![LayerType::SlidingAttention; config.num_hidden_layers];
    }
    let (short, long) = (keys.floats("rope_factors_short.weight")?, keys.floats("rope_factors_long.weight")?);
    if let (Some(short_factor), Some(long_factor)) = (short, long) {
        let trained = keys.number("rope.scaling.original_context_length")?;
        let attention_factor = keys.float("rope.scaling.attn_factor")?.unwrap_or(1.0) as f32;
        config.rope_scaling = Some(RopeScaling::Longrope {
            short_factor,
            long_factor,
            original_max_position_embeddings: u32::try_from(trained).unwrap_or(u32::MAX),
            attention_factor: f64::from(attention_factor),
        });
    }
    Ok(())
}

pub(super) static FAMILY: Family = Family {
    name: "phi3",
    aliases: &[],
    class: "Phi3ForCausalLM",
    architectures: &["phi3"],
    features: |_| {},
    read_hugging_face,
    read_gguf,
    layer_names: &[
        ("attn_qkv", "self_attn.qkv_proj"),
        ("attn_qkv", "self_attn.q_proj"),
        ("attn_qkv", "self_attn.k_proj"),
        ("attn_qkv", "self_attn.v_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_up", "mlp.gate_proj"),
    ],
    arrange: |origin, config, tensors| {
        let (q, kv, inner) = (config.q_dim(), config.kv_dim(), config.intermediate_size);
        tensors.split(
            "self_attn.qkv_proj",
            &[
                ("self_attn.q_proj", &|_| run(0, q)),
                ("self_attn.k_proj", &|_| run(q, kv)),
                ("self_attn.v_proj", &|_| run(q + kv, kv)),
            ],
        );
        let fused = if origin == Origin::Gguf { "mlp.up_proj" } else { "mlp.gate_up_proj" };
        tensors
            .split(fused, &[("mlp.gate_proj", &|_| run(0, inner)), ("mlp.up_proj", &|_| run(inner, inner))]);
        Ok(())
    },
};
