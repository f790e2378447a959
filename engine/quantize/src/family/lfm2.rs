//! LFM2 and LFM2.5: short convolutions, and attention with norms of each head's queries and keys in some layers.

use super::{Family, Origin};
use crate::QuantizeError;
use crate::source::{HfConfig, Keys, refuse};
use edgellm::config::{LayerType, ModelConfig, QkNorm};
use edgellm::tensors::FINAL_NORM;

/// Hugging Face's names, and the engine's.
const NAMES: [(&str, &str); 8] = [
    ("operator_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("feed_forward.w1", "mlp.gate_proj"),
    ("feed_forward.w3", "mlp.up_proj"),
    ("feed_forward.w2", "mlp.down_proj"),
    ("self_attn.out_proj", "self_attn.o_proj"),
    ("self_attn.q_layernorm", "self_attn.q_norm"),
    ("self_attn.k_layernorm", "self_attn.k_norm"),
];

fn read_hugging_face(hf: &HfConfig, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    if hf.conv_bias {
        return refuse("conv_bias", true, "false");
    }
    config.rms_norm_eps = hf.norm_eps.unwrap_or(1e-5);
    config.conv_kernel = Some(hf.conv_l_cache.unwrap_or(3));
    if let (Some(full), false) = (&hf.full_attn_idxs, hf.has_layer_types()) {
        let layer_type =
            |layer| if full.contains(&layer) { LayerType::FullAttention } else { LayerType::Conv };
        config.layer_types = (0..config.num_hidden_layers).map(layer_type).collect();
    }
    let mut inner = hf.block_ff_dim.unwrap_or(config.intermediate_size);
    if hf.block_auto_adjust_ff_dim.unwrap_or(true) {
        inner = inner.saturating_mul(2) / 3;
        if let Some(factor) = hf.block_ffn_dim_multiplier {
            let multiple = hf.block_multiple_of.unwrap_or(256).max(1);
            inner = ((factor * inner as f64) as usize).div_ceil(multiple).saturating_mul(multiple);
        }
    }
    config.intermediate_size = inner;
    Ok(())
}

fn read_gguf(keys: &Keys<'_, '_>, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    config.conv_kernel = Some(keys.number("shortconv.l_cache")?);
    // Layers without heads are convolutions.
    let heads = keys.numbers("attention.head_count_kv")?;
    config.num_key_value_heads = heads.iter().copied().max().unwrap_or(0);
    let layer_type = |&heads: &usize| if heads == 0 { LayerType::Conv } else { LayerType::FullAttention };
    config.layer_types = heads.iter().map(layer_type).collect();
    Ok(())
}

pub(super) static FAMILY: Family = Family {
    name: "lfm2",
    aliases: &[],
    class: "Lfm2ForCausalLM",
    architectures: &["lfm2"],
    features: |config| config.qk_norm = Some(QkNorm::Head),
    read_hugging_face,
    read_gguf,
    layer_names: &[
        ("token_embd_norm.weight", FINAL_NORM),
        ("shortconv.in_proj", "conv.in_proj"),
        ("shortconv.out_proj", "conv.out_proj"),
        ("shortconv.conv", "conv.conv"),
    ],
    arrange: |origin, _, tensors| {
        if origin == Origin::HuggingFace {
            for (from, to) in NAMES {
                tensors.rename(from, to);
            }
            tensors.rename_global("model.embedding_norm.weight", FINAL_NORM);
        }
        Ok(())
    },
};
