//! Gemma 3, its text models: four norms a layer, stored as differences from 1 but for GGUF; sliding windows in five of six
//! layers, with rotary positions of their own; embeddings multiplied by the root of their width.

use super::{Family, Origin};
use crate::QuantizeError;
use crate::source::{HfConfig, Keys, refuse};
use edgellm::config::{HiddenAct, LayerType, ModelConfig, NormPlacement, QkNorm};

/// Every such layer has full attention.
const PATTERN: usize = 6;
/// Base of the rotary frequencies in layers with sliding attention.
const LOCAL_BASE: f64 = 10_000.0;

fn features(config: &mut ModelConfig) {
    config.norm_placement = NormPlacement::Sandwich;
    config.qk_norm = Some(QkNorm::Head);
    config.hidden_act = HiddenAct::GeluPytorchTanh;
    config.embedding_multiplier = Some((config.hidden_size as f32).sqrt());
}

/// Sliding attention but for each `pattern`-th layer.
fn layer_types(layers: usize, pattern: usize) -> Vec<LayerType> {
    let full = |layer: usize| (layer + 1).is_multiple_of(pattern);
    (0..layers)
        .map(|layer| if full(layer) { LayerType::FullAttention } else { LayerType::SlidingAttention })
        .collect()
}

fn read_hugging_face(hf: &HfConfig, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    if let Some(cap) = hf.attn_logit_softcapping.or(hf.final_logit_softcapping) {
        return refuse("attn_logit_softcapping or final_logit_softcapping", cap, "none");
    }
    if hf.use_bidirectional_attention {
        return refuse("use_bidirectional_attention", true, "false");
    }
    // Published files leave out what is transformers' default.
    let layers = config.num_hidden_layers;
    config.num_attention_heads = hf.num_attention_heads.unwrap_or(8);
    config.num_key_value_heads = hf.num_key_value_heads.unwrap_or(4);
    config.head_dim = hf.head_dim.unwrap_or(256);
    config.vocab_size = if config.vocab_size == 0 { 262_208 } else { config.vocab_size };
    config.max_position_embeddings = hf.max_position_embeddings.unwrap_or(131_072);
    config.sliding_window = Some(hf.sliding_window.unwrap_or(4096));
    config.tie_word_embeddings = true;
    config.attention_multiplier = Some(1.0 / (hf.query_pre_attn_scalar.unwrap_or(256.0) as f32).sqrt());
    if !hf.has_layer_types() {
        config.layer_types = layer_types(layers, hf.sliding_window_pattern().unwrap_or(PATTERN));
    }
    let sliding = hf.sliding_rope();
    if let Some(name) = sliding.and_then(|rope| rope.name()) {
        return refuse("rope_type of sliding_attention", name, "default");
    }
    let local = sliding.and_then(|rope| rope.rope_theta).or(hf.rope_local_base_freq);
    config.rope_local_base_freq = Some(local.unwrap_or(LOCAL_BASE));
    Ok(())
}

fn read_gguf(keys: &Keys<'_, '_>, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    config.sliding_window = Some(keys.number("attention.sliding_window")?);
    let pattern = keys.number_or("attention.sliding_window_pattern", PATTERN)?;
    config.layer_types = layer_types(config.num_hidden_layers, pattern);
    config.rope_local_base_freq = Some(keys.float("rope.freq_base_swa")?.unwrap_or(LOCAL_BASE));
    // Gemma 3 27B, whose files do not say it.
    if config.num_hidden_layers == 62 {
        let width = config.hidden_size / config.num_attention_heads.max(1);
        config.attention_multiplier = Some(1.0 / (width as f32).sqrt());
    }
    Ok(())
}

pub(super) static FAMILY: Family = Family {
    name: "gemma3_text",
    aliases: &["gemma3"],
    class: "Gemma3ForCausalLM",
    architectures: &["gemma3"],
    features,
    read_hugging_face,
    read_gguf,
    layer_names: &[
        ("post_attention_norm", "post_attention_layernorm"),
        ("ffn_norm", "pre_feedforward_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
    ],
    arrange: |origin, _, tensors| {
        if origin == Origin::HuggingFace {
            tensors.add_one(|_| true);
        }
        Ok(())
    },
};
