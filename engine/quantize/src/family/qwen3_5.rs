//! Qwen3.5, its text models, and Bonsai 2: Gated DeltaNet in three of four layers, gated attention in the others. Norms are
//! stored as differences from 1 but for GGUF. The heads that predict further tokens (MTP) are left out.

use super::{Family, Origin, Tensors};
use crate::QuantizeError;
use crate::source::tensor::{Function, periodic};
use crate::source::{HfConfig, Keys};
use edgellm::config::{LayerType, LinearAttention, ModelConfig, QkNorm};
use std::sync::Arc;

/// Every such layer has full attention.
const INTERVAL: usize = 4;
/// Share of a head that is rotated.
const PARTIAL_ROTARY: f64 = 0.25;

fn features(config: &mut ModelConfig) {
    config.qk_norm = Some(QkNorm::Head);
    config.attention_gate = true;
}

fn layer_types(layers: usize, interval: usize) -> Vec<LayerType> {
    let full = |layer: usize| (layer + 1).is_multiple_of(interval);
    (0..layers)
        .map(|layer| if full(layer) { LayerType::FullAttention } else { LayerType::LinearAttention })
        .collect()
}

fn read_hugging_face(hf: &HfConfig, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    config.head_dim = hf.head_dim.unwrap_or(256);
    if hf.partial_rotary().is_none() {
        config.rotary_dim = Some((config.head_dim as f64 * PARTIAL_ROTARY) as usize);
    }
    if !hf.has_layer_types() {
        config.layer_types =
            layer_types(config.num_hidden_layers, hf.full_attention_interval.unwrap_or(INTERVAL));
    }
    config.linear_attention = Some(LinearAttention {
        num_key_heads: hf.linear_num_key_heads.unwrap_or(16),
        num_value_heads: hf.linear_num_value_heads.unwrap_or(32),
        key_head_dim: hf.linear_key_head_dim.unwrap_or(128),
        value_head_dim: hf.linear_value_head_dim.unwrap_or(128),
        conv_kernel: hf.linear_conv_kernel_dim.unwrap_or(4),
        interleaved: false,
    });
    Ok(())
}

fn read_gguf(keys: &Keys<'_, '_>, config: &mut ModelConfig) -> Result<(), QuantizeError> {
    config.layer_types = match keys.flags("attention.recurrent_layers")? {
        Some(recurrent) => {
            let layer_type =
                |linear| if linear { LayerType::LinearAttention } else { LayerType::FullAttention };
            recurrent.into_iter().map(layer_type).collect()
        }
        None => layer_types(config.num_hidden_layers, keys.number_or("full_attention_interval", INTERVAL)?),
    };
    let heads = keys.number("ssm.time_step_rank")?;
    let key_heads = keys.number("ssm.group_count")?;
    config.linear_attention = Some(LinearAttention {
        num_key_heads: key_heads,
        num_value_heads: heads,
        key_head_dim: keys.number("ssm.state_size")?,
        value_head_dim: keys.number("ssm.inner_size")?.checked_div(heads).unwrap_or(0),
        conv_kernel: keys.number("ssm.conv_kernel")?,
        // llama.cpp's converter puts the value heads that share a key head apart.
        interleaved: heads > key_heads,
    });
    Ok(())
}

/// Puts the value heads of each key head together, which GGUF files keep apart: rows of all that makes the values.
fn group_values(linear: LinearAttention, tensors: &mut Tensors<'_>) {
    let (groups, dim) = (linear.num_key_heads, linear.value_head_dim);
    let repeats = linear.num_value_heads / groups.max(1);
    // The head in the file of each head, and the rows of each, `width` a head, after the first `before`.
    let head = move |head: usize| head % repeats.max(1) * groups + head / repeats.max(1);
    let rows = move |before: usize, width: usize| -> Arc<[u32]> {
        let values = (0..linear.num_value_heads)
            .flat_map(|index| (0..width).map(move |row| before + head(index) * width + row));
        (0..before).chain(values).map(|row| row as u32).collect()
    };
    let keys = 2 * groups * linear.key_head_dim;
    for (end, before, width) in [
        (".linear_attn.in_proj_qkv.weight", keys, dim),
        (".linear_attn.conv1d.weight", keys, dim),
        (".linear_attn.in_proj_z.weight", 0, dim),
        (".linear_attn.in_proj_b.weight", 0, 1),
        (".linear_attn.in_proj_a.weight", 0, 1),
        (".linear_attn.A", 0, 1),
        (".linear_attn.dt_bias", 0, 1),
    ] {
        tensors.each(end, |tensor| tensor.with_places(rows(before, width)));
    }
}

pub(super) static FAMILY: Family = Family {
    name: "qwen3_5_text",
    aliases: &["qwen3_5"],
    class: "Qwen3_5ForCausalLM",
    architectures: &["qwen35"],
    features,
    read_hugging_face,
    read_gguf,
    layer_names: &[
        ("post_attention_norm", "post_attention_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_q", "self_attn.gate_proj"),
        ("attn_qkv", "linear_attn.in_proj_qkv"),
        ("attn_gate", "linear_attn.in_proj_z"),
        ("ssm_beta", "linear_attn.in_proj_b"),
        ("ssm_alpha", "linear_attn.in_proj_a"),
        ("ssm_conv1d", "linear_attn.conv1d"),
        ("ssm_dt.bias", "linear_attn.dt_bias"),
        ("ssm_a", "linear_attn.A"),
        ("ssm_norm", "linear_attn.norm"),
        ("ssm_out", "linear_attn.out_proj"),
    ],
    arrange: |origin, config, tensors| {
        let head = config.head_dim;
        // Each head's queries, then its gate.
        tensors.split(
            "self_attn.q_proj",
            &[
                ("self_attn.q_proj", &|rows| periodic(rows, 2 * head, 0, head)),
                ("self_attn.gate_proj", &|rows| periodic(rows, 2 * head, head, head)),
            ],
        );
        // Where the output projection has the value heads of a key head together, what makes the values gets them together.
        if let (Origin::Gguf, Some(linear)) = (origin, config.linear_attention)
            && !linear.interleaved
        {
            group_values(linear, tensors);
        }
        if origin == Origin::HuggingFace {
            tensors.0.retain(|name, _| !name.starts_with("mtp.") && !name.starts_with("model.visual."));
            tensors.add_one(|name| !name.ends_with("linear_attn.norm.weight"));
            tensors.each(".linear_attn.A_log", |tensor| tensor.with_function(Function::MinusExp));
            tensors.rename_ends(".linear_attn.A_log", ".linear_attn.A");
        }
        Ok(())
    },
};
