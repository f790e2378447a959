//! A published model, in one form whatever it was read from.

mod end_tokens;
mod files;
mod gguf_config;
mod gguf_names;
mod hf_config;
mod hf_names;
mod safetensors_file;
mod template_tokens;
mod tensor;

pub use tensor::SourceTensor;

use crate::QuantizeError;
use crate::gguf::{Gguf, Value};
use crate::tokenizer;
use edgellm::config::ModelConfig;
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
        let model_type = gguf_config::model_type(&gguf)?;
        let table = tokenizer::TokenTable::read(&gguf)?;
        let config = gguf_config::read(&gguf, &table, model_type)?;
        let tokenizer = tokenizer::rebuild(&gguf, &table)?;
        let chat_template = match gguf.get("tokenizer.chat_template") {
            None => None,
            Some(_) => Some(gguf.string("tokenizer.chat_template")?.to_string()),
        };
        let chat_template = chat_template.filter(|template| !template.trim().is_empty());
        let name = gguf.get("general.name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let found = gguf_names::tensors(&gguf, &config)?;
        let tokens = TemplateTokens::from_gguf(&gguf, &table)?;
        let name = name.unwrap_or(UNNAMED).to_string();
        Self::assemble("GGUF", name, config, tokenizer, chat_template, tokens, found)
    }

    /// Reads the files of a Hugging Face directory, by name. Required are `config.json`, `tokenizer.json` and
    /// `model.safetensors`, or the files into which it was split; `generation_config.json`, `tokenizer_config.json`,
    /// `special_tokens_map.json` and `chat_template.jinja` are used if present.
    ///
    /// # Errors
    /// [`QuantizeError`] if a file is missing or damaged, or the model is not supported.
    pub fn from_files(files: &[(&str, &'a [u8])]) -> Result<Self, QuantizeError> {
        let files = files::Files::new(files);
        let tokenizer = files.get("tokenizer.json", files::TOKENIZER_ADVICE)?.to_vec();
        tokenizer::check(&tokenizer)?;
        let (mut config, name) = hf_config::read(files.get("config.json", files::CONFIG_ADVICE)?)?;
        let found = hf_names::canonical(files.tensors()?);
        config.attention_bias = found.contains_key("model.layers.0.self_attn.q_proj.bias");
        end_tokens::from_files(&files, &tokenizer, &mut config)?;
        let chat_template = files.chat_template()?;
        let tokens = TemplateTokens::from_files(&files, &tokenizer)?;
        let name = name.unwrap_or_else(|| UNNAMED.to_string());
        Self::assemble("safetensors", name, config, tokenizer, chat_template, tokens, found)
    }

    /// The tensors in the order of the model file.
    pub fn tensors(&self) -> &[SourceTensor<'a>] {
        &self.tensors
    }

    /// Checks that `found` holds the tensors of a model of this configuration, and no others.
    fn assemble(
        format: &str,
        name: String,
        mut config: ModelConfig,
        tokenizer: Vec<u8>,
        chat_template: Option<String>,
        tokens: TemplateTokens,
        mut found: HashMap<String, SourceTensor<'a>>,
    ) -> Result<Self, QuantizeError> {
        tie(&mut config, &mut found);
        config.validate()?;
        let mut types = BTreeMap::new();
        let mut tensors = Vec::new();
        for (name, expected) in tensor_shapes(&config) {
            let Some(tensor) = found.remove(&name) else {
                return Err(QuantizeError::MissingTensor { name });
            };
            if tensor.shape() != expected {
                return Err(QuantizeError::Shape { name, expected, actual: tensor.shape() });
            }
            *types.entry(tensor.ggml_type().name()).or_insert(0_usize) += 1;
            tensors.push(tensor);
        }
        // Sorted, so that the same source always gives the same error.
        if let Some(name) = found.into_keys().min() {
            return Err(QuantizeError::UnexpectedTensor { name });
        }
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let types: Vec<_> = types.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
        let description = format!("{format}: {}", types.join(", "));
        let TemplateTokens { bos: bos_token, eos: eos_token } = tokens;
        Ok(Source { name, config, tokenizer, chat_template, bos_token, eos_token, description, tensors })
    }
}

/// The name of a model that has none.
const UNNAMED: &str = "unnamed";
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
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

/// Names and shapes of a model's tensors, in the order in which a forward pass needs them.
fn tensor_shapes(config: &ModelConfig) -> Vec<(String, [usize; 2])> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut list = vec![(EMBEDDING.to_string(), [config.vocab_size, hidden])];
    for layer in 0..config.num_hidden_layers {
        let mut add = |name: &str, shape| list.push((format!("model.layers.{layer}.{name}"), shape));
        add("input_layernorm.weight", [1, hidden]);
        for (projection, rows) in
            [("q_proj", config.q_dim()), ("k_proj", config.kv_dim()), ("v_proj", config.kv_dim())]
        {
            add(&format!("self_attn.{projection}.weight"), [rows, hidden]);
            if config.attention_bias {
                add(&format!("self_attn.{projection}.bias"), [1, rows]);
            }
        }
        add("self_attn.o_proj.weight", [hidden, config.q_dim()]);
        add("post_attention_layernorm.weight", [1, hidden]);
        add("mlp.gate_proj.weight", [inner, hidden]);
        add("mlp.up_proj.weight", [inner, hidden]);
        add("mlp.down_proj.weight", [hidden, inner]);
    }
    list.push(("model.norm.weight".to_string(), [1, hidden]));
    if !config.tie_word_embeddings {
        list.push((LM_HEAD.to_string(), [config.vocab_size, hidden]));
    }
    list
}

#[cfg(test)]
mod tests;
