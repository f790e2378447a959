//! The files of a Hugging Face directory.

use super::SourceTensor;
use crate::QuantizeError;
use crate::gguf::GgmlType;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) const CONFIG_ADVICE: &str = "give a folder as downloaded from Hugging Face, or a .gguf file";
pub(super) const TOKENIZER_ADVICE: &str = "download it too; where a model has only tokenizer.model, convert that with transformers' \
     AutoTokenizer(...).save_pretrained(...)";
const WEIGHTS_ADVICE: &str =
    "download model.safetensors, or all of its shards; PyTorch .bin files are not read";
const ELEMENT_ADVICE: &str = "use the unquantized checkpoint";

/// Files by name.
pub(super) struct Files<'f, 'a> {
    files: &'f [(&'f str, &'a [u8])],
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A chat template in `tokenizer_config.json`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<Templates>,
}

impl<'f, 'a> Files<'f, 'a> {
    pub(super) fn new(files: &'f [(&'f str, &'a [u8])]) -> Self {
        Files { files }
    }

    pub(super) fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
    }

    pub(super) fn get(&self, name: &str, advice: &'static str) -> Result<&'a [u8], QuantizeError> {
        self.find(name).ok_or_else(|| QuantizeError::MissingFile { file: name.to_string(), advice })
    }

    /// The tensors of all shards.
    pub(super) fn tensors(&self) -> Result<HashMap<String, SourceTensor<'a>>, QuantizeError> {
        let mut found = HashMap::new();
        let Some(index) = self.find(INDEX) else {
            read_shard(SINGLE, self.get(SINGLE, WEIGHTS_ADVICE)?, &mut found)?;
            return Ok(found);
        };
        let index: Index =
            serde_json::from_slice(index).map_err(|error| QuantizeError::json(INDEX, error))?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        for shard in shards {
            read_shard(shard, self.get(shard, WEIGHTS_ADVICE)?, &mut found)?;
        }
        Ok(found)
    }

    /// The chat template: from its own file, or the default one in `tokenizer_config.json`.
    pub(super) fn chat_template(&self) -> Result<Option<String>, QuantizeError> {
        const FILE: &str = "chat_template.jinja";
        if let Some(bytes) = self.find(FILE) {
            let text = std::str::from_utf8(bytes).map_err(|error| QuantizeError::json(FILE, error))?;
            return Ok(Some(text.to_string()));
        }
        const CONFIG: &str = "tokenizer_config.json";
        let Some(bytes) = self.find(CONFIG) else { return Ok(None) };
        let config: TokenizerConfig =
            serde_json::from_slice(bytes).map_err(|error| QuantizeError::json(CONFIG, error))?;
        Ok(match config.chat_template {
            None => None,
            Some(Templates::One(template)) => Some(template),
            Some(Templates::Named(mut named)) => {
                let default = named.iter().position(|one| one.name == "default").unwrap_or(0);
                (default < named.len()).then(|| named.swap_remove(default).template)
            }
        })
    }
}

/// Adds the tensors of one file.
fn read_shard<'a>(
    file: &str,
    bytes: &'a [u8],
    found: &mut HashMap<String, SourceTensor<'a>>,
) -> Result<(), QuantizeError> {
    let wrong = |problem: String| QuantizeError::Safetensors { file: file.to_string(), problem };
    let shard = SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
    for (name, view) in shard.iter() {
        // Constants that old checkpoints contain.
        if name.ends_with("rotary_emb.inv_freq") {
            continue;
        }
        let ggml_type = match view.dtype() {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            other => {
                return Err(QuantizeError::TensorType {
                    name: name.to_string(),
                    found: format!("{other:?}"),
                    advice: ELEMENT_ADVICE,
                });
            }
        };
        let shape = match *view.shape() {
            [length] => [1, length],
            [rows, cols] => [rows, cols],
            _ => return Err(QuantizeError::UnexpectedTensor { name: name.to_string() }),
        };
        let tensor = SourceTensor::new(name.to_string(), shape, ggml_type, view.data())
            .ok_or_else(|| wrong(format!("tensor {name} is not as long as its shape")))?;
        if found.insert(name.to_string(), tensor).is_some() {
            return Err(wrong(format!("tensor {name} is in two files")));
        }
    }
    Ok(())
}
