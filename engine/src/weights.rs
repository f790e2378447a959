//! The weights of a model: where each lies in its file, and the small ones as floats.

use crate::config::{LayerType, ModelConfig};
use crate::format::{FormatError, ModelFile, TensorData, TensorEncoding, floats};
use crate::linear::{LinearId, Projection};
use crate::tensors::{EMBEDDING, FINAL_NORM, Role, in_layer, tensors};
use std::collections::HashMap;

/// A packed matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// Its index in the file's directory.
    pub(crate) position: usize,
    /// What products with it are multiplied by, if not by 1.
    pub(crate) scale: Option<f32>,
    /// Whether its inputs are rotated.
    pub(crate) rotated: bool,
}

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
    /// The signs of rotated inputs, by their width.
    signs: HashMap<usize, Vec<f32>>,
}

impl Weights {
    /// The signs of rotated inputs of this width; empty if there are none.
    pub(crate) fn signs(&self, width: usize) -> &[f32] {
        self.signs.get(&width).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Weights of a layer. Norms, (hidden_size), are absent where the model has none.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) norm_before_mixer: Option<Vec<f32>>,
    pub(crate) mixer: Mixer,
    pub(crate) norm_after_mixer: Option<Vec<f32>>,
    pub(crate) norm_before_feed_forward: Option<Vec<f32>>,
    pub(crate) feed_forward: FeedForward,
    pub(crate) norm_after_feed_forward: Option<Vec<f32>>,
}

/// What mixes a token with those before it.
#[derive(Debug)]
pub(crate) enum Mixer {
    Attention(Attention),
    ShortConv(ShortConv),
    DeltaNet(DeltaNet),
}

/// Weights of attention.
#[derive(Debug)]
pub(crate) struct Attention {
    /// The layer's number among those with keys and values.
    pub(crate) cache: usize,
    /// (q_dim, hidden_size), (kv_dim, hidden_size) twice
    pub(crate) qkv: [Weight; 3],
    /// (q_dim), (kv_dim) twice
    pub(crate) qkv_bias: Option<[Vec<f32>; 3]>,
    /// Of queries and of keys: (head_dim), or (q_dim) and (kv_dim)
    pub(crate) qk_norm: Option<[Vec<f32>; 2]>,
    /// (q_dim, hidden_size)
    pub(crate) gate: Option<Weight>,
    /// (q_dim)
    pub(crate) sub_norm: Option<Vec<f32>>,
    /// (hidden_size, q_dim)
    pub(crate) o_proj: Weight,
}

/// Weights of a gated short convolution.
#[derive(Debug)]
pub(crate) struct ShortConv {
    /// The layer's number among those with a state.
    pub(crate) state: usize,
    /// (3 hidden_size, hidden_size)
    pub(crate) in_proj: Weight,
    /// (kernel, hidden_size)
    pub(crate) kernel: Vec<f32>,
    /// (hidden_size, hidden_size)
    pub(crate) out_proj: Weight,
}

/// Weights of Gated DeltaNet; C, V and H are its convolution's and its values' width and the number of value heads.
#[derive(Debug)]
pub(crate) struct DeltaNet {
    /// The layer's number among those with a state.
    pub(crate) state: usize,
    /// (C, hidden_size), (V, hidden_size), (H, hidden_size) twice
    pub(crate) qkv_z_b_a: [Weight; 4],
    /// (kernel, C)
    pub(crate) kernel: Vec<f32>,
    /// (H)
    pub(crate) a: Vec<f32>,
    /// (H)
    pub(crate) dt_bias: Vec<f32>,
    /// (value_head_dim)
    pub(crate) norm: Vec<f32>,
    /// (hidden_size, V)
    pub(crate) out_proj: Weight,
}

/// Weights of the feed-forward layer.
#[derive(Debug)]
pub(crate) struct FeedForward {
    /// (intermediate_size, hidden_size) twice
    pub(crate) gate_up: [Weight; 2],
    /// (intermediate_size)
    pub(crate) sub_norm: Option<Vec<f32>>,
    /// (hidden_size, intermediate_size)
    pub(crate) down_proj: Weight,
}

impl Weights {
    /// Finds every tensor that the configuration requires, and checks its shape and encoding.
    pub(crate) fn find(file: &ModelFile, bytes: &[u8]) -> Result<Self, FormatError> {
        let config = &file.metadata().config;
        let found = Found::new(file, bytes)?;
        let embed_tokens = found.weight(EMBEDDING.to_string())?;
        let lm_head = if config.tie_word_embeddings {
            embed_tokens
        } else {
            found.weight(LinearId::LmHead.weight_name())?
        };
        let norm = found.vector(FINAL_NORM.to_string())?;
        let (mut with_cache, mut with_state) = (0.., 0..);
        let layers = (0..config.num_hidden_layers).map(|index| {
            let number =
                if config.layer_type(index).is_attention() { with_cache.next() } else { with_state.next() };
            InLayer { found: &found, index }.layer(config, number.unwrap_or_default())
        });
        let rotation = config.rotation.iter().flat_map(|rotation| &rotation.signs);
        let signs = rotation.filter_map(|signs| Some((signs.width, signs.unpack()?))).collect();
        Ok(Weights { embed_tokens, layers: layers.collect::<Result<_, _>>()?, norm, lm_head, signs })
    }
}

/// The tensors of [`tensors`], found in a file.
#[derive(Default)]
struct Found {
    weights: HashMap<String, Weight>,
    /// In rows.
    floats: HashMap<String, (Vec<f32>, usize)>,
}

impl Found {
    fn new(file: &ModelFile, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut found = Found::default();
        for tensor in tensors(&file.metadata().config) {
            let (name, expected) = (tensor.name, tensor.shape);
            let Some(position) = file.position(&name) else { return Err(FormatError::Missing { name }) };
            let entry = &file.metadata().tensors[position];
            if entry.shape != expected {
                return Err(FormatError::Shape { name, expected, actual: entry.shape });
            }
            let is_float = entry.encoding == TensorEncoding::F32;
            match (tensor.role, file.data(bytes, position)) {
                (Role::Float, TensorData::F32(data)) => {
                    found.floats.insert(name, (floats(data).collect(), expected[0]));
                }
                (Role::Embedding | Role::Linear(_), TensorData::Packed(_)) if !is_float => {
                    found
                        .weights
                        .insert(name, Weight { position, scale: entry.scale, rotated: entry.rotated });
                }
                _ => return Err(FormatError::Encoding { name, actual: entry.encoding }),
            }
        }
        Ok(found)
    }

    fn weight(&self, name: String) -> Result<Weight, FormatError> {
        self.weights.get(&name).copied().ok_or(FormatError::Missing { name })
    }

    fn vector(&self, name: String) -> Result<Vec<f32>, FormatError> {
        self.floats.get(&name).map(|(floats, _)| floats.clone()).ok_or(FormatError::Missing { name })
    }
}

/// The tensors of one layer.
struct InLayer<'a> {
    found: &'a Found,
    index: usize,
}

impl InLayer<'_> {
    fn weight(&self, projection: Projection) -> Result<Weight, FormatError> {
        self.found.weight(LinearId::new(self.index, projection).weight_name())
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        self.found.vector(in_layer(self.index, name))
    }

    /// A tensor that not every model has.
    fn optional(&self, name: &str) -> Option<Vec<f32>> {
        self.vector(name).ok()
    }

    /// The kernel of a convolution, of which a file has (channels, tokens): (tokens, channels).
    fn kernel(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        let name = in_layer(self.index, name);
        let Some((floats, channels)) = self.found.floats.get(&name) else {
            return Err(FormatError::Missing { name });
        };
        let tokens = floats.len() / channels;
        Ok((0..tokens).flat_map(|token| floats.iter().skip(token).step_by(tokens)).copied().collect())
    }

    fn layer(&self, config: &ModelConfig, number: usize) -> Result<Layer, FormatError> {
        let after_mixer = self.optional("post_attention_layernorm.weight");
        let before_feed_forward = self.optional("pre_feedforward_layernorm.weight");
        let after_feed_forward = self.optional("post_feedforward_layernorm.weight");
        // Hugging Face's names: in models with two norms a layer, this one is before the feed-forward layer.
        let (norm_after_mixer, norm_before_feed_forward) = match after_feed_forward {
            None => (None, after_mixer),
            Some(_) => (after_mixer, before_feed_forward),
        };
        Ok(Layer {
            norm_before_mixer: self.optional("input_layernorm.weight"),
            mixer: match config.layer_type(self.index) {
                LayerType::FullAttention | LayerType::SlidingAttention => {
                    Mixer::Attention(self.attention(number)?)
                }
                LayerType::Conv => Mixer::ShortConv(self.short_conv(number)?),
                LayerType::LinearAttention => Mixer::DeltaNet(self.delta_net(number)?),
            },
            norm_after_mixer,
            norm_before_feed_forward,
            feed_forward: FeedForward {
                gate_up: [self.weight(Projection::Gate)?, self.weight(Projection::Up)?],
                sub_norm: self.optional("mlp.ffn_sub_norm.weight"),
                down_proj: self.weight(Projection::Down)?,
            },
            norm_after_feed_forward: after_feed_forward,
        })
    }

    fn attention(&self, cache: usize) -> Result<Attention, FormatError> {
        let bias = |projection: Projection| self.optional(&format!("{}.bias", projection.module()));
        let biases = [bias(Projection::Q), bias(Projection::K), bias(Projection::V)];
        let norms = [self.optional("self_attn.q_norm.weight"), self.optional("self_attn.k_norm.weight")];
        Ok(Attention {
            cache,
            qkv: [self.weight(Projection::Q)?, self.weight(Projection::K)?, self.weight(Projection::V)?],
            qkv_bias: if let [Some(q), Some(k), Some(v)] = biases { Some([q, k, v]) } else { None },
            qk_norm: if let [Some(q), Some(k)] = norms { Some([q, k]) } else { None },
            gate: self.weight(Projection::AttentionGate).ok(),
            sub_norm: self.optional("self_attn.attn_sub_norm.weight"),
            o_proj: self.weight(Projection::O)?,
        })
    }

    fn short_conv(&self, state: usize) -> Result<ShortConv, FormatError> {
        Ok(ShortConv {
            state,
            in_proj: self.weight(Projection::ConvIn)?,
            kernel: self.kernel("conv.conv.weight")?,
            out_proj: self.weight(Projection::ConvOut)?,
        })
    }

    fn delta_net(&self, state: usize) -> Result<DeltaNet, FormatError> {
        Ok(DeltaNet {
            state,
            qkv_z_b_a: [
                self.weight(Projection::LinearQkv)?,
                self.weight(Projection::LinearZ)?,
                self.weight(Projection::LinearB)?,
                self.weight(Projection::LinearA)?,
            ],
            kernel: self.kernel("linear_attn.conv1d.weight")?,
            a: self.vector("linear_attn.A")?,
            dt_bias: self.vector("linear_attn.dt_bias")?,
            norm: self.vector("linear_attn.norm.weight")?,
            out_proj: self.weight(Projection::LinearOut)?,
        })
    }
}
