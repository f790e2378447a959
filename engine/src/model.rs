//! A model: validated bytes, and the locations of its weights in them.

use crate::TokenId;
use crate::chat::{ChatError, ChatTemplate};
use crate::compute::Compute;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::format::{FormatError, Metadata, ModelFile, TensorData, TensorEncoding};
use crate::linear::{LinearId, Projection};
use crate::rope::Rope;
use crate::tokenizer::Tokenizer;
use edgellm_kernels::layout::Matrix;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A model, ready to run. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    file: ModelFile,
    tokenizer: Tokenizer,
    weights: Weights,
    rope: Rope,
    compute: Compute,
    chat_template: OnceLock<Result<ChatTemplate, ChatError>>,
}

/// A packed matrix, by its index in the file's directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight(usize);

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// (vocab_size, hidden_size)
    pub(crate) embed_tokens: Weight,
    pub(crate) layers: Vec<Layer>,
    /// (hidden_size)
    pub(crate) norm: Vec<f32>,
    /// (vocab_size, hidden_size); the embedding where tied
    pub(crate) lm_head: Weight,
}

/// Weights of a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// (hidden_size)
    pub(crate) input_layernorm: Vec<f32>,
    /// (q_dim, hidden_size), (kv_dim, hidden_size) twice
    pub(crate) qkv: [Weight; 3],
    /// (q_dim), (kv_dim) twice
    pub(crate) qkv_bias: Option<[Vec<f32>; 3]>,
    /// (hidden_size, q_dim)
    pub(crate) o_proj: Weight,
    /// (hidden_size)
    pub(crate) post_attention_layernorm: Vec<f32>,
    /// (intermediate_size, hidden_size) twice
    pub(crate) gate_up: [Weight; 2],
    /// (hidden_size, intermediate_size)
    pub(crate) down_proj: Weight,
}

impl Model {
    /// Opens a model from the bytes of a `.tmac2.bin` file (a memory map, a `Vec<u8>`, a `&'static [u8]`),
    /// with the fastest kernels on one thread.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Tokenizer`] says what is wrong with the bytes.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::with_compute(bytes, Compute::default())
    }

    /// As [`Model::from_bytes`], with kernels and threads of your choice.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Tokenizer`] says what is wrong with the bytes.
    pub fn with_compute(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
        compute: Compute,
    ) -> Result<Self, Error> {
        let file = ModelFile::parse(bytes.as_ref())?;
        let weights = Weights::find(&file, bytes.as_ref())?;
        let tokenizer = Tokenizer::from_json(file.tokenizer(bytes.as_ref()))?;
        let rope = Rope::new(&file.metadata().config);
        let (bytes, chat_template) = (Box::new(bytes), OnceLock::new());
        Ok(Model(Arc::new(Inner { bytes, file, tokenizer, weights, rope, compute, chat_template })))
    }

    /// Shape and constants.
    pub fn config(&self) -> &ModelConfig {
        &self.0.file.metadata().config
    }

    /// The metadata of the file.
    pub fn metadata(&self) -> &Metadata {
        self.0.file.metadata()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// The model's chat template, `None` if the file has none or an empty one. It is compiled on the first call and shared by all
    /// clones of the model.
    ///
    /// # Errors
    /// [`ChatError::Template`] if it cannot be compiled.
    pub fn chat_template(&self) -> Result<Option<&ChatTemplate>, ChatError> {
        let Metadata { chat_template, bos_token, eos_token, config, .. } = self.metadata();
        let source = chat_template.as_deref().filter(|source| !source.trim().is_empty());
        let Some(source) = source else { return Ok(None) };
        let token = |id: &TokenId| self.tokenizer().id_to_token(*id);
        let compile = || {
            // Files of older versions hold no texts.
            let bos = bos_token.as_deref().or_else(|| config.bos_token_id.as_ref().and_then(token));
            let eos = eos_token.as_deref().or_else(|| config.eos_token_ids.first().and_then(token));
            ChatTemplate::new(source, bos.unwrap_or_default(), eos.unwrap_or_default())
        };
        self.0.chat_template.get_or_init(compile).as_ref().map(Some).map_err(ChatError::clone)
    }

    /// Kernels and threads.
    pub fn compute(&self) -> &Compute {
        &self.0.compute
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> usize {
        (*self.0.bytes).as_ref().len()
    }

    /// Whether both are clones of one model.
    pub(crate) fn same(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.0.weights
    }

    pub(crate) fn rope(&self) -> &Rope {
        &self.0.rope
    }

    pub(crate) fn matrix(&self, weight: Weight) -> Matrix<'_> {
        match self.0.file.data((*self.0.bytes).as_ref(), weight.0) {
            TensorData::Packed(matrix) => matrix,
            TensorData::F32(_) => unreachable!("`Weights::find` takes packed matrices only"),
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({}, {:?})", self.metadata().name, self.compute())
    }
}

impl Weights {
    /// Finds every tensor that the configuration requires, and checks its shape.
    fn find(file: &ModelFile, bytes: &[u8]) -> Result<Self, FormatError> {
        let config = &file.metadata().config;
        let position = |name: String, shape: [usize; 2]| {
            let position = file.position(&name).ok_or(FormatError::Missing { name: name.clone() })?;
            let entry = &file.metadata().tensors[position];
            if entry.shape != shape {
                return Err(FormatError::Shape { name, expected: shape, actual: entry.shape });
            }
            Ok((position, entry.encoding, name))
        };
        let matrix = |name: String, rows: usize, cols: usize| {
            let (position, actual, name) = position(name, [rows, cols])?;
            if actual == TensorEncoding::F32 {
                return Err(FormatError::Encoding { name, actual });
            }
            Ok(Weight(position))
        };
        let vector = |name: String, len: usize| {
            let (position, actual, name) = position(name, [1, len])?;
            match file.data(bytes, position) {
                TensorData::F32(data) => Ok(crate::format::floats(data).collect::<Vec<f32>>()),
                TensorData::Packed(_) => Err(FormatError::Encoding { name, actual }),
            }
        };
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.q_dim(), config.kv_dim());
        let embed_tokens = matrix("model.embed_tokens.weight".into(), config.vocab_size, hidden)?;
        let lm_head = if config.tie_word_embeddings {
            embed_tokens
        } else {
            matrix(LinearId::LmHead.weight_name(), config.vocab_size, hidden)?
        };
        let layers = (0..config.num_hidden_layers)
            .map(|layer| {
                let at = |name: &str| format!("model.layers.{layer}.{name}");
                let linear = |projection, rows, cols| {
                    matrix(LinearId::new(layer, projection).weight_name(), rows, cols)
                };
                let bias = config.attention_bias.then(|| {
                    Ok::<_, FormatError>([
                        vector(at("self_attn.q_proj.bias"), q)?,
                        vector(at("self_attn.k_proj.bias"), kv)?,
                        vector(at("self_attn.v_proj.bias"), kv)?,
                    ])
                });
                Ok(Layer {
                    input_layernorm: vector(at("input_layernorm.weight"), hidden)?,
                    qkv: [
                        linear(Projection::Q, q, hidden)?,
                        linear(Projection::K, kv, hidden)?,
                        linear(Projection::V, kv, hidden)?,
                    ],
                    qkv_bias: bias.transpose()?,
                    o_proj: linear(Projection::O, hidden, q)?,
                    post_attention_layernorm: vector(at("post_attention_layernorm.weight"), hidden)?,
                    gate_up: [
                        linear(Projection::Gate, inner, hidden)?,
                        linear(Projection::Up, inner, hidden)?,
                    ],
                    down_proj: linear(Projection::Down, hidden, inner)?,
                })
            })
            .collect::<Result<_, FormatError>>()?;
        Ok(Weights { embed_tokens, layers, norm: vector("model.norm.weight".into(), hidden)?, lm_head })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{recipes, seeded_chat_model, seeded_sentencepiece_model};

    /// Files of older versions, which seeded models are like.
    #[test]
    fn templates_of_files_without_texts_get_those_of_the_ids() {
        let template = Some("[{{ bos_token }}]({{ eos_token }})");
        let render = |bytes| {
            let model = Model::from_bytes(bytes).unwrap();
            assert_eq!((&model.metadata().bos_token, &model.metadata().eos_token), (&None, &None));
            model.chat_template().unwrap().unwrap().render(&[], false).unwrap().text().to_string()
        };
        assert_eq!(render(seeded_sentencepiece_model(1, template).unwrap()), "[](</s>)");
        // The token of the byte 0.
        assert_eq!(render(seeded_chat_model(recipes()[0], 1, template).unwrap()), "[](\u{100})");
    }
}
