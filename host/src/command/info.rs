//! `edgellm info`.

use crate::args::ModelArgs;
use crate::cache::Cache;
use crate::command::quality;
use crate::error::Result;
use crate::model;
use crate::output::{self, human_bytes};
use edgellm::Model;
use edgellm::config::{LayerType, ModelConfig};
use edgellm::format::{Metadata, TensorEncoding, TensorEntry, TensorScales};
use edgellm::text::printable;
use edgellm_memory::Placement;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Verify a model file and show its contents
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgellm info smollm2-135m-instruct
  edgellm info model.tmac2.bin --json")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Print a JSON object: path, bytes, parameters, weights (their placement), and the metadata with all tensors
    #[arg(long)]
    json: bool,
    /// List all tensors with their quantization errors
    #[arg(long, conflicts_with = "json")]
    tensors: bool,
}

/// Characters of a line's value, at most: a file may claim any name.
pub(crate) const LONGEST: usize = 1000;
/// Characters of a tensor's name, at most.
pub(crate) const LONGEST_NAME: usize = 100;

impl Args {
    /// Prints the description.
    pub(crate) fn run(self, cache: &Cache) -> Result<()> {
        let path = self.model.choose(cache).prepare(cache)?;
        let (model, weights) = model::open_described(&path, Placement::Auto, cache)?;
        let metadata = model.metadata();
        if self.json {
            let mut object = json!(metadata);
            object["path"] = json!(path);
            object["bytes"] = json!(model.file_bytes());
            object["weights"] = json!(weights);
            object["parameters"] = json!(parameters(metadata));
            return output::print_json(&object);
        }
        output::print(&describe(&path, &model, &weights, self.tensors))
    }
}

fn weights(tensor: &TensorEntry) -> u64 {
    tensor.shape[0] as u64 * tensor.shape[1] as u64
}

fn parameters(metadata: &Metadata) -> u64 {
    metadata.tensors.iter().map(weights).sum()
}

/// A short description of an encoding.
pub(crate) fn encoding_name(encoding: TensorEncoding) -> String {
    let scales = |group_size: usize, zero: Option<u8>| {
        let kind = if zero.is_some() { "symmetric" } else { "affine" };
        let six = if encoding.scales() == TensorScales::Six { ", six-bit scales" } else { "" };
        format!("{kind}, groups of {group_size}{six}")
    };
    match encoding {
        TensorEncoding::F32 => "f32".to_string(),
        TensorEncoding::Planes { bits, group_size, zero, .. } => {
            format!("{bits} bit-planes, {}", scales(group_size, zero))
        }
        TensorEncoding::Ternary { group_size } => format!("ternary codes, groups of {group_size}"),
        TensorEncoding::Binary { group_size } => format!("binary codes, groups of {group_size}"),
        TensorEncoding::Nibbles { group_size, zero, .. } => {
            format!("4-bit codes, {}", scales(group_size, zero))
        }
        TensorEncoding::Split { bits, group_size, zero } => {
            format!("{bits}-bit codes, {}", scales(group_size, zero))
        }
        TensorEncoding::Table { group_size, zero, .. } => {
            format!("4-bit codes of a table, {}", scales(group_size, zero))
        }
        TensorEncoding::Bytes { group_size, zero } => format!("8-bit codes, {}", scales(group_size, zero)),
    }
}

fn describe(path: &Path, model: &Model, weights: &str, tensors: bool) -> String {
    let (metadata, config) = (model.metadata(), model.config());
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:13} {}", printable(&value, LONGEST));
    };
    let (parameters, bytes) = (parameters(metadata), model.file_bytes() as u64);
    let bits = bytes as f64 * 8.0 / parameters.max(1) as f64;
    let quantization = &metadata.quantization;
    line("name", metadata.name.clone());
    line("path", path.display().to_string());
    line("size", format!("{} ({bits:.2} bits a weight, all included)", human_bytes(bytes)));
    line("in memory", weights.to_string());
    line("parameters", format!("{:.1} million", parameters as f64 / 1e6));
    line("format", format!("{}, head {}, {}", quantization.format, quantization.head, quantization.method));
    for (key, value) in quantization.quality.iter().flat_map(quality::lines) {
        line(key, value);
    }
    line("made from", format!("{} by {}", quantization.source, quantization.tool));
    line("architecture", config.model_type.clone());
    line("layers", format!("{} of width {}", config.num_hidden_layers, config.hidden_size));
    let (heads, shared) = (config.num_attention_heads, config.num_key_value_heads);
    if let Some(kinds) = layer_kinds(config) {
        line("layer types", kinds);
    }
    line("attention", format!("{heads} heads of {}, {shared} for keys and values", config.head_dim));
    line("feed-forward", config.intermediate_size.to_string());
    line("vocabulary", config.vocab_size.to_string());
    line("context", format!("{} tokens", config.max_position_embeddings));
    line("chat template", if metadata.chat_template.is_some() { "yes" } else { "no" }.to_string());
    let mut encodings: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for tensor in &metadata.tensors {
        let entry = encodings.entry(encoding_name(tensor.encoding)).or_default();
        *entry = (entry.0 + 1, entry.1 + tensor.section.length);
    }
    for (encoding, (count, bytes)) in encodings {
        line("tensors", format!("{count} of {encoding}: {}", human_bytes(bytes)));
    }
    let worst = metadata
        .tensors
        .iter()
        .filter_map(|tensor| Some((tensor.error?.relative, &tensor.name)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((relative, name)) = worst {
        line("worst tensor", format!("{name}: relative error {relative:.5}"));
    }
    if tensors {
        text.push('\n');
        for tensor in &metadata.tensors {
            let error =
                tensor.error.map_or_else(|| "exact".to_string(), |error| format!("{:.5}", error.relative));
            let [rows, cols] = tensor.shape;
            let encoding = encoding_name(tensor.encoding);
            let name = printable(&tensor.name, LONGEST_NAME);
            let _ = writeln!(text, "{name:48} {rows:>7} x {cols:<7} {error:>8}  {encoding}");
        }
    }
    text
}

/// How many layers there are of each type, `None` if all have full attention.
fn layer_kinds(config: &ModelConfig) -> Option<String> {
    let count = |kind| config.layer_types.iter().filter(|&&layer| layer == kind).count();
    let kinds = [
        (LayerType::FullAttention, "full attention".to_string()),
        (
            LayerType::SlidingAttention,
            format!("attention to the last {} tokens", config.sliding_window.unwrap_or_default()),
        ),
        (LayerType::Conv, "short convolution".to_string()),
        (LayerType::LinearAttention, "Gated DeltaNet".to_string()),
    ];
    let present = kinds.iter().map(|(kind, name)| (count(*kind), name)).filter(|(count, _)| *count > 0);
    let list: Vec<String> = present.map(|(count, name)| format!("{count} {name}")).collect();
    (!list.is_empty()).then(|| list.join(", "))
}
