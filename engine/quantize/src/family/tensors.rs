//! The tensors of a source on their way to the names and the form that the engine wants.

use super::Family;
use crate::QuantizeError;
use crate::gguf::Gguf;
use crate::source::SourceTensor;
use crate::source::tensor::{Function, rotary_pairs};
use edgellm::config::ModelConfig;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where a model was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Gguf,
    HuggingFace,
}

/// GGUF's name of the embedding.
const TOKEN_EMBD: &str = "token_embd.weight";
/// GGUF's name of the LM head.
const OUTPUT: &str = "output.weight";

/// GGUF's names outside the layers, and Hugging Face's.
const GLOBAL: [(&str, &str); 3] = [
    (TOKEN_EMBD, edgellm::tensors::EMBEDDING),
    ("output_norm.weight", edgellm::tensors::FINAL_NORM),
    (OUTPUT, crate::source::LM_HEAD),
];

/// GGUF's names in a layer of most families, and Hugging Face's, without `.weight` or `.bias`.
pub(super) const LAYER: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Tensors that are read with the configuration.
const CONSTANTS: [&str; 3] = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// Which of a number of rows.
type Rows<'r> = &'r dyn Fn(usize) -> Arc<[u32]>;

/// The tensors of a source, by name.
pub(crate) struct Tensors<'a>(pub(crate) HashMap<String, SourceTensor<'a>>);

impl<'a> Tensors<'a> {
    /// The tensors of a GGUF file under Hugging Face's names, or names that [`Family::arrange`](super::Family) knows.
    /// `rotated`: the file's names of the matrices whose inputs are rotated.
    pub(crate) fn from_gguf(
        gguf: &Gguf<'a>,
        layer_names: &[(&str, &str)],
        rotated: &HashSet<String>,
    ) -> Result<Self, QuantizeError> {
        let mut found = HashMap::new();
        for tensor in gguf.tensors() {
            if CONSTANTS.contains(&tensor.name) {
                continue;
            }
            let unexpected = || QuantizeError::UnexpectedTensor { name: tensor.name.to_string() };
            let name = hugging_face_name(tensor.name, layer_names).ok_or_else(unexpected)?;
            let source = SourceTensor::new(name.clone(), tensor.shape, tensor.ggml_type, tensor.data)
                .map(|source| source.with_scale(tensor.scale).with_rotation(rotated.contains(tensor.name)));
            if found.insert(name, source.ok_or_else(unexpected)?).is_some() {
                return Err(unexpected());
            }
        }
        Ok(Tensors(found))
    }

    /// Puts what `change` makes of each tensor whose name ends so in its place.
    pub(crate) fn each(&mut self, end: &str, change: impl Fn(SourceTensor<'a>) -> SourceTensor<'a>) {
        for (name, tensor) in &mut self.0 {
            if name.ends_with(end) {
                *tensor = change(tensor.clone());
            }
        }
    }

    /// Renames the tensors of all layers: `from` and `to` are names in a layer, without `.weight`.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        self.rename_ends(&format!(".{from}.weight"), &format!(".{to}.weight"));
    }

    /// Renames all tensors whose name ends with `from`.
    pub(crate) fn rename_ends(&mut self, from: &str, to: &str) {
        let names: Vec<String> = self.0.keys().filter(|name| name.ends_with(from)).cloned().collect();
        for name in names {
            if let (Some(tensor), Some(start)) = (self.0.remove(&name), name.strip_suffix(from)) {
                let name = format!("{start}{to}");
                self.0.insert(name.clone(), tensor.renamed(name));
            }
        }
    }

    /// Renames a tensor outside the layers.
    pub(crate) fn rename_global(&mut self, from: &str, to: &str) {
        if let Some(tensor) = self.0.remove(from) {
            self.0.insert(to.to_string(), tensor.renamed(to.to_string()));
        }
    }

    /// Replaces the matrices called `from` in all layers by parts of them: names, and which rows each has of how many there
    /// are. A matrix with too few rows stays, and is refused later.
    pub(crate) fn split(&mut self, from: &str, parts: &[(&str, Rows<'_>)]) {
        let end = format!(".{from}.weight");
        let names: Vec<String> = self.0.keys().filter(|name| name.ends_with(&end)).cloned().collect();
        for name in names {
            let (Some(tensor), Some(layer)) = (self.0.remove(&name), name.strip_suffix(&end)) else {
                continue;
            };
            let count = tensor.shape()[0];
            let rows: Vec<Arc<[u32]>> = parts.iter().map(|(_, rows)| rows(count)).collect();
            if rows.iter().map(|rows| rows.len()).sum::<usize>() != count {
                self.0.insert(name, tensor);
                continue;
            }
            for ((part, _), rows) in parts.iter().zip(rows) {
                let name = format!("{layer}.{part}.weight");
                self.0.insert(name.clone(), tensor.clone().renamed(name).with_places(rows));
            }
        }
    }

    /// Undoes the order in which GGUF files keep the rows of queries and keys in the families that llama.cpp rotates in pairs.
    pub(crate) fn undo_rotary_pairs(&mut self, config: &ModelConfig) {
        for projection in ["q_proj", "k_proj"] {
            for kind in ["weight", "bias"] {
                self.each(&format!(".self_attn.{projection}.{kind}"), |tensor| {
                    let rows = tensor.shape()[usize::from(kind == "bias")];
                    tensor.with_places(rotary_pairs(rows, config.head_dim))
                });
            }
        }
    }

    /// Adds 1 to the weights of all norms whose name `is` accepts.
    pub(crate) fn add_one(&mut self, is: impl Fn(&str) -> bool) {
        for (name, tensor) in &mut self.0 {
            if name.ends_with("norm.weight") && is(name) {
                *tensor = tensor.clone().with_function(Function::PlusOne);
            }
        }
    }
}

/// What GGUF files call the matrix that the engine knows by `name`, or that it is a part of: none of an embedding that is
/// no head, because it multiplies nothing. A head that is the embedding has the names of both.
pub(crate) fn gguf_names(
    name: &str,
    (origin, family): (Origin, &Family),
    config: &ModelConfig,
) -> Vec<String> {
    const OUT_PROJ: &str = "linear_attn.out_proj";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    let layer = |name: &str| {
        let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let stem = rest.strip_suffix(".weight")?;
        // llama.cpp's converter puts these columns in another order than Hugging Face's.
        let regrouped =
            config.linear_attention.is_some_and(|linear| linear.num_value_heads > linear.num_key_heads);
        if stem == OUT_PROJ && origin == Origin::HuggingFace && regrouped {
            return None;
        }
        let mut known = family.layer_names.iter().chain(&LAYER);
        let (theirs, _) = known.find(|(_, ours)| *ours == stem)?;
        Some(format!("blk.{layer}.{theirs}.weight"))
    };
    match name {
        edgellm::tensors::EMBEDDING if config.tie_word_embeddings => names(&[TOKEN_EMBD, OUTPUT]),
        edgellm::tensors::EMBEDDING => Vec::new(),
        crate::source::LM_HEAD => names(&[OUTPUT]),
        _ => layer(name).into_iter().collect(),
    }
}

fn hugging_face_name(name: &str, layer_names: &[(&str, &str)]) -> Option<String> {
    let find = |names: &[(&str, &str)], stem: &str| {
        names.iter().find(|(theirs, _)| *theirs == stem).map(|(_, ours)| (*ours).to_string())
    };
    if let Some(known) = find(&GLOBAL, name) {
        return Some(known);
    }
    let Some((layer, rest)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return find(layer_names, name);
    };
    let ours = match rest.rsplit_once('.') {
        Some((stem, kind @ ("weight" | "bias"))) => {
            // A family's list may name a tensor with its kind, to give it another.
            find(layer_names, rest).or_else(|| {
                let ours = find(layer_names, stem).or_else(|| find(&LAYER, stem))?;
                Some(format!("{ours}.{kind}"))
            })?
        }
        _ => find(layer_names, rest)?,
    };
    layer.bytes().all(|digit| digit.is_ascii_digit()).then(|| format!("model.layers.{layer}.{ours}"))
}
