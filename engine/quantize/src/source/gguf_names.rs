//! Maps GGUF tensor names and row orders to Hugging Face's.

use super::SourceTensor;
use crate::QuantizeError;
use crate::gguf::Gguf;
use edgellm::config::{ModelConfig, ModelType};
use std::collections::HashMap;

/// Names outside the layers.
const GLOBAL: [(&str, &str); 3] = [
    ("token_embd.weight", super::EMBEDDING),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", super::LM_HEAD),
];

/// Names within a layer, without `.weight` or `.bias`.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

fn hugging_face_name(name: &str) -> Option<String> {
    if let Some((_, known)) = GLOBAL.iter().find(|(theirs, _)| *theirs == name) {
        return Some((*known).to_string());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (stem, kind) = rest.rsplit_once('.')?;
    let (_, ours) = LAYER.iter().find(|(theirs, _)| *theirs == stem)?;
    (layer.bytes().all(|digit| digit.is_ascii_digit()) && matches!(kind, "weight" | "bias"))
        .then(|| format!("model.layers.{layer}.{ours}.{kind}"))
}

/// The tensors of the file under their Hugging Face names.
pub(super) fn tensors<'a>(
    gguf: &Gguf<'a>,
    config: &ModelConfig,
) -> Result<HashMap<String, SourceTensor<'a>>, QuantizeError> {
    let mut found = HashMap::new();
    for tensor in gguf.tensors() {
        // Its contents are in config.rope_scaling.
        if tensor.name == "rope_freqs.weight" {
            continue;
        }
        let unexpected = || QuantizeError::UnexpectedTensor { name: tensor.name.to_string() };
        let name = hugging_face_name(tensor.name).ok_or_else(unexpected)?;
        let paired = config.model_type == ModelType::Llama
            && ["q_proj", "k_proj"].iter().any(|projection| name.contains(projection));
        let source = SourceTensor::new(name.clone(), tensor.shape, tensor.ggml_type, tensor.data)
            .ok_or_else(unexpected)?;
        let source = if paired { source.with_rotary_pairs(config.head_dim) } else { source };
        if found.insert(name, source).is_some() {
            return Err(unexpected());
        }
    }
    Ok(found)
}
