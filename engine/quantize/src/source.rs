//! A published model, in one form whatever it was read from.

mod end_tokens;
mod files;
mod gguf_config;
mod hadamard;
mod hf_config;
mod hf_names;
mod packed;
mod safetensors_file;
mod stored;
mod template_tokens;
pub(crate) mod tensor;

pub use files::tokenizer_of_files;
pub(crate) use gguf_config::Keys;
pub(crate) use hf_config::{HfConfig, refuse};
pub use tensor::SourceTensor;

use crate::QuantizeError;
use crate::family::{Family, Origin, Tensors, gguf_names};
use crate::gguf::{Gguf, Value};
use crate::tokenizer;
use edgellm::config::ModelConfig;
use edgellm::tensors::{EMBEDDING, Role, tensors};
use hadamard::Hadamard;
use std::collections::{BTreeMap, HashMap};
use template_tokens::TemplateTokens;

/// A model to convert: its configuration, its tokenizer, and its weights as slices of the source's bytes.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Display name; set it if you know a better one.
    pub name: String,
    /// Shape and constants.
    pub config: ModelConfig,
    /// A Hugging Face `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Jinja template that renders messages as a prompt.
    pub chat_template: Option<String>,
    /// Text of the BOS token in that template, empty if there is none.
    pub bos_token: String,
    /// Text of the EOS token in that template, empty if there is none.
    pub eos_token: String,
    /// Text of the token that fills batches of texts in training, empty if the files name none.
    pub pad_token: String,
    /// Format and tensor types, such as "GGUF: 210 Q4_1, 61 F32, 1 Q8_0".
    pub description: String,
    tensors: Vec<SourceTensor<'a>>,
}

impl<'a> Source<'a> {
    /// Reads a GGUF file.
    ///
    /// # Errors
    /// [`QuantizeError`] if the file is damaged or one of several parts, or the model is not supported.
    pub fn from_gguf(bytes: &'a [u8]) -> Result<Self, QuantizeError> {
        Self::from_gguf_parts(&[bytes])
    }

    /// Reads the parts of a split GGUF file, in any order.
    ///
    /// # Errors
    /// [`QuantizeError`] if a part is damaged or missing, or the model is not supported.
    pub fn from_gguf_parts(parts: &[&'a [u8]]) -> Result<Self, QuantizeError> {
        let gguf = Gguf::join(parts.iter().map(|bytes| Gguf::parse(bytes)).collect::<Result<_, _>>()?)?;
        let family = gguf_config::family(&gguf)?;
        let table = tokenizer::TokenTable::read(&gguf)?;
        let mut config = gguf_config::read(&gguf, &table, family)?;
        let hadamard = Hadamard::read(&gguf)?;
        if let (true, Some(linear)) = (hadamard.grouped_values, &mut config.linear_attention) {
            linear.interleaved = false;
        }
        config.rotation = hadamard.rotation;
        let tokenizer = tokenizer::rebuild(&gguf, &table)?;
        let chat_template = match gguf.get("tokenizer.chat_template") {
            None => None,
            Some(_) => Some(gguf.string("tokenizer.chat_template")?.to_string()),
        };
        let chat_template = chat_template.filter(|template| !template.trim().is_empty());
        let name = gguf.get("general.name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let found = Tensors::from_gguf(&gguf, family.layer_names, &hadamard.weights)?;
        let tokens = TemplateTokens::from_gguf(&gguf, &table)?;
        let name = name.unwrap_or(UNNAMED).to_string();
        Self::assemble((Origin::Gguf, family), name, config, tokenizer, chat_template, tokens, found)
    }

    /// Reads the files of a Hugging Face directory, by name. Required are `config.json`, `tokenizer.json` or
    /// `tokenizer.model`, and `model.safetensors`, or the files into which it was split; `generation_config.json`,
    /// `tokenizer_config.json`, `added_tokens.json`, `special_tokens_map.json` and `chat_template.jinja` are used if present.
    /// Checkpoints that GPTQ, AWQ, AutoRound, compressed-tensors or BitNet quantized keep their codes.
    ///
    /// # Errors
    /// [`QuantizeError`] if a file is missing or damaged, or the model is not supported.
    pub fn from_files(files: &[(&str, &'a [u8])]) -> Result<Self, QuantizeError> {
        let files = files::Files::new(files);
        let tokenizer = files.tokenizer()?;
        let (mut config, family, name, scheme) =
            hf_config::read(files.get("config.json", files::CONFIG_ADVICE)?)?;
        let found = Tensors(hf_names::canonical(files.tensors(scheme.as_deref())?));
        end_tokens::from_files(&files, &tokenizer, &mut config)?;
        let chat_template = files.chat_template()?;
        let tokens = TemplateTokens::from_files(&files, &tokenizer)?;
        let name = name.unwrap_or_else(|| UNNAMED.to_string());
        Self::assemble((Origin::HuggingFace, family), name, config, tokenizer, chat_template, tokens, found)
    }

    /// The tensors in the order of the model file.
    pub fn tensors(&self) -> &[SourceTensor<'a>] {
        &self.tensors
    }

    /// Checks that `found` holds the tensors of a model of this configuration, and no others.
    fn assemble(
        (origin, family): (Origin, &Family),
        name: String,
        mut config: ModelConfig,
        tokenizer: Vec<u8>,
        chat_template: Option<String>,
        tokens: TemplateTokens,
        mut found: Tensors<'a>,
    ) -> Result<Self, QuantizeError> {
        // Before rows are listed by its numbers.
        config.validate()?;
        (family.arrange)(origin, &config, &mut found)?;
        let Tensors(mut found) = found;
        config.attention_bias = found.keys().any(|name| name.ends_with("self_attn.q_proj.bias"));
        tie(&mut config, &mut found);
        let mut types = BTreeMap::new();
        let mut list = Vec::new();
        for edgellm::tensors::Tensor { name, shape: expected, role } in tensors(&config) {
            let Some(tensor) = found.remove(&name) else {
                return Err(QuantizeError::MissingTensor { name });
            };
            if tensor.shape() != expected {
                return Err(QuantizeError::Shape { name, expected, actual: tensor.shape() });
            }
            if tensor.rotated() && !(role != Role::Float && config.rotates(expected[1])) {
                let found = format!("{name}, with {} columns", expected[1]);
                return refuse(
                    "the rotation of",
                    found,
                    "matrices whose width has whole blocks, and signs if any has",
                );
            }
            *types.entry(tensor.type_name()).or_insert(0_usize) += 1;
            let names =
                if role == Role::Float { Vec::new() } else { gguf_names(&name, (origin, family), &config) };
            list.push(tensor.with_role(role).with_gguf_names(names));
        }
        // Sorted, so that the same source always gives the same error.
        if let Some(name) = found.into_keys().min() {
            return Err(QuantizeError::UnexpectedTensor { name });
        }
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let types: Vec<_> = types.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
        let format = if origin == Origin::Gguf { "GGUF" } else { "safetensors" };
        let description = format!("{format}: {}", types.join(", "));
        let TemplateTokens { bos: bos_token, eos: eos_token, pad: pad_token } = tokens;
        Ok(Source {
            name,
            config,
            tokenizer,
            chat_template,
            bos_token,
            eos_token,
            pad_token,
            description,
            tensors: list,
        })
    }
}

/// The configuration that a `config.json` describes, as far as its tensors and the other files do not decide.
pub(crate) fn config_of(bytes: &[u8]) -> Result<ModelConfig, QuantizeError> {
    hf_config::read(bytes).map(|(config, ..)| config)
}

/// The name of a model that has none.
const UNNAMED: &str = "unnamed";
pub(crate) const LM_HEAD: &str = "lm_head.weight";

/// Decides from the tensors whether the LM head is the embedding. What the configuration says counts only where they leave
/// it open: files hold a tied head twice, or under the name of the head alone, and heads of their own in spite of it.
fn tie<'a>(config: &mut ModelConfig, found: &mut HashMap<String, SourceTensor<'a>>) {
    match (found.remove(LM_HEAD), found.get(EMBEDDING)) {
        (Some(head), Some(embedding)) => {
            config.tie_word_embeddings = head.same_as(embedding);
            if !config.tie_word_embeddings {
                found.insert(LM_HEAD.to_string(), head);
            }
        }
        (Some(head), None) if config.tie_word_embeddings => {
            found.insert(EMBEDDING.to_string(), head.renamed(EMBEDDING.to_string()));
        }
        // The embedding is missing, and will be missed.
        (Some(_), None) => {}
        (None, _) => config.tie_word_embeddings = true,
    }
}

#[cfg(test)]
mod tests;
