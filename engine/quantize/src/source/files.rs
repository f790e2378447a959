//! The files of a Hugging Face directory.

use super::packed::Scheme;
use super::{SourceTensor, safetensors_file};
use crate::QuantizeError;
use crate::mistaken::mistaken;
use crate::tokenizer;
use edgellm::json;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(super) const CONFIG_ADVICE: &str = "give a folder as downloaded from Hugging Face, or a .gguf file";
const TOKENIZER_ADVICE: &str = "download it too, or tokenizer.model where the model has that instead";
const WEIGHTS_ADVICE: &str =
    "download model.safetensors, or all of its shards; PyTorch .bin files are not read";

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
    chat_template: Option<Templates>,
}

impl<'f, 'a> Files<'f, 'a> {
    pub(super) fn new(files: &'f [(&'f str, &'a [u8])]) -> Self {
        Files { files }
    }

    /// The contents of a file, if there is one and it is what its name says.
    pub(super) fn find(&self, name: &str) -> Result<Option<&'a [u8]>, QuantizeError> {
        let Some((_, bytes)) = self.files.iter().find(|(file, _)| *file == name) else { return Ok(None) };
        match mistaken(bytes) {
            Some(other) => {
                let (file, found, advice) = (name.to_string(), other.found, other.advice);
                Err(QuantizeError::Mistaken { file, found, advice })
            }
            None => Ok(Some(bytes)),
        }
    }

    pub(super) fn get(&self, name: &str, advice: &'static str) -> Result<&'a [u8], QuantizeError> {
        self.find(name)?.ok_or_else(|| QuantizeError::MissingFile { file: name.to_string(), advice })
    }

    /// The contents of a JSON file, if there is one.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, QuantizeError> {
        self.find(name)?.map(|bytes| read_json(name, bytes)).transpose()
    }

    /// The `tokenizer.json`, or what becomes of `tokenizer.model`.
    pub(super) fn tokenizer(&self) -> Result<Vec<u8>, QuantizeError> {
        let model = self.find("tokenizer.model")?;
        let json = match (self.find("tokenizer.json")?, model) {
            (Some(json), _) => json.to_vec(),
            (None, Some(model)) => {
                let config = self.json("tokenizer_config.json")?.unwrap_or_default();
                let added = self.json("added_tokens.json")?.unwrap_or_default();
                tokenizer::from_model(model, &config, &added)?
            }
            (None, None) => self.get("tokenizer.json", TOKENIZER_ADVICE)?.to_vec(),
        };
        tokenizer::check(&json)?;
        Ok(json)
    }

    /// The tensors of all shards: those that `scheme` quantized, and the floats.
    pub(super) fn tensors(
        &self,
        scheme: Option<&dyn Scheme>,
    ) -> Result<HashMap<String, SourceTensor<'a>>, QuantizeError> {
        let mut weights = safetensors_file::Weights::default();
        for shard in self.shards()? {
            weights.add(&shard, self.get(&shard, WEIGHTS_ADVICE)?)?;
        }
        let mut found = weights.tensors();
        let mut tensors = HashMap::new();
        for tensor in scheme.map_or_else(|| Ok(Vec::new()), |scheme| scheme.unpack(&mut found))? {
            tensors.insert(tensor.name().to_string(), tensor);
        }
        for (name, stored) in found {
            if tensors.insert(name.clone(), stored.floats(name.clone())?).is_some() {
                return Err(QuantizeError::packed(name, "is in the file twice, quantized and as floats"));
            }
        }
        Ok(tensors)
    }

    /// The files with the weights: one, those that an index lists, or those whose names are numbered.
    fn shards(&self) -> Result<BTreeSet<String>, QuantizeError> {
        if self.files.iter().any(|(name, _)| *name == SINGLE) {
            return Ok(BTreeSet::from([SINGLE.to_string()]));
        }
        if let Some(index) = self.json::<Index>(INDEX)? {
            return Ok(index.weight_map.into_values().collect());
        }
        let numbered = self.files.iter().find_map(|(name, _)| {
            let parts = crate::parts::Parts::of(name.strip_suffix(".safetensors")?)?;
            Some(parts.names().map(|part| format!("{part}.safetensors")).collect())
        });
        Ok(numbered.unwrap_or_else(|| BTreeSet::from([SINGLE.to_string()])))
    }

    /// The chat template: from its own file, or the default one in `tokenizer_config.json`. An empty one is none.
    pub(super) fn chat_template(&self) -> Result<Option<String>, QuantizeError> {
        const FILE: &str = "chat_template.jinja";
        let own = self.files.iter().any(|(name, bytes)| *name == FILE && !bytes.trim_ascii().is_empty());
        if own && let Some(bytes) = self.find(FILE)? {
            let text = std::str::from_utf8(bytes).map_err(|error| QuantizeError::json(FILE, error))?;
            return Ok(Some(text.to_string()));
        }
        let config: Option<TokenizerConfig> = self.json("tokenizer_config.json")?;
        let template = match config.and_then(|config| config.chat_template) {
            None => None,
            Some(Templates::One(template)) => Some(template),
            Some(Templates::Named(mut named)) => {
                let default = named.iter().position(|one| one.name == "default").unwrap_or(0);
                (default < named.len()).then(|| named.swap_remove(default).template)
            }
        };
        Ok(template.filter(|template| !template.trim().is_empty()))
    }
}

/// The `tokenizer.json` of the files of a Hugging Face directory, of which no others are needed than the tokenizer's.
///
/// # Errors
/// [`QuantizeError`] if there is no tokenizer, or it is damaged or not supported.
pub fn tokenizer_of_files(files: &[(&str, &[u8])]) -> Result<Vec<u8>, QuantizeError> {
    Files::new(files).tokenizer()
}

/// Reads a JSON file.
pub(super) fn read_json<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, QuantizeError> {
    json::read(bytes).map_err(|error| {
        if error.is_cut_off() {
            let (file, length) = (file.to_string(), bytes.len() as u64);
            return QuantizeError::Truncated { file, length, expected: None };
        }
        QuantizeError::json(file, error)
    })
}
