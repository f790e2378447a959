//! Granite 3 and 4, the dense ones: multipliers, and fused projections in those with the layout of the hybrids.

use super::{Family, Origin};
use crate::QuantizeError;
use crate::source::tensor::run;
use crate::source::{HfConfig, Keys, refuse};
use edgellm::config::{LayerType, ModelConfig};

fn read_hugging_face(hf: &HfConfig, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    if let Some(experts) = hf.num_local_experts.filter(|&experts| experts > 0) {
        return refuse("num_local_experts", experts, "models without experts");
    }
    if config.layer_types.iter().any(|&layer| layer != LayerType::FullAttention) {
        return refuse("layer_types", "mamba", "attention only");
    }
    config.intermediate_size = hf.shared_intermediate_size.unwrap_or(config.intermediate_size);
    config.head_dim = config.hidden_size.checked_div(config.num_attention_heads).unwrap_or(0);
    config.embedding_multiplier = hf.embedding_multiplier;
    config.attention_multiplier = hf.attention_multiplier;
    config.residual_multiplier = hf.residual_multiplier;
    config.logits_scaling = hf.logits_scaling;
    // Hybrids without Mamba layers can do without positions.
    if hf.shared_intermediate_size.is_some() && hf.position_embedding_type.as_deref() != Some("rope") {
        config.no_rope_layers = (0..config.num_hidden_layers).collect();
    }
    Ok(())
}

fn read_gguf(keys: &Keys<'_, '_>, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    let factor = |name: &str| Ok::<_, QuantizeError>(keys.float(name)?.map(|factor| factor as f32));
    config.embedding_multiplier = factor("embedding_scale")?;
    config.attention_multiplier = factor("attention.scale")?;
    config.residual_multiplier = factor("residual_scale")?;
    config.logits_scaling = factor("logit_scale")?;
    // The hybrids' keys count heads layer by layer, and experts' widths.
    if let Some(rows) = keys.rows("blk.0.attn_k.weight") {
        config.num_key_value_heads = rows.checked_div(config.head_dim).unwrap_or(0);
    }
    if let Some(rows) = keys.rows("blk.0.ffn_up.weight") {
        config.intermediate_size = rows;
    }
    // llama.cpp's name for "has rotary positions" in hybrids.
    if keys.architecture == "granitehybrid" && keys.flag("rope.scaling.finetuned")? == Some(false) {
        config.no_rope_layers = (0..config.num_hidden_layers).collect();
    }
    Ok(())
}

pub(super) static FAMILY: Family = Family {
    name: "granite",
    aliases: &["granitemoehybrid"],
    class: "GraniteForCausalLM",
    architectures: &["granite", "granitehybrid"],
    features: |_| {},
    read_hugging_face,
    read_gguf,
    layer_names: &[],
    arrange: |origin, config, tensors| {
        let inner = config.intermediate_size;
        if origin == Origin::Gguf {
            tensors.undo_rotary_pairs(config);
        }
        tensors.split(
            "shared_mlp.input_linear",
            &[("mlp.gate_proj", &|_| run(0, inner)), ("mlp.up_proj", &|_| run(inner, inner))],
        );
        tensors.rename("shared_mlp.output_linear", "mlp.down_proj");
        Ok(())
    },
};
