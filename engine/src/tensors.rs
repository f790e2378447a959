//! The tensors of a model: names, shapes and roles follow from its configuration. The loader, the converter and the builders
//! of test models all ask here.

use crate::config::{LayerType, ModelConfig, NormPlacement, QkNorm};
use crate::linear::{LinearId, Projection};

/// Name of the embedding, which is the LM head too where the two are tied.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// Name of the last norm.
pub const FINAL_NORM: &str = "model.norm.weight";

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The embedding, (vocab_size, hidden_size), quantized.
    Embedding,
    /// A weight matrix, (rows, cols), quantized.
    Linear(LinearId),
    /// Floats: norms, biases, the kernels of convolutions.
    Float,
}

/// A tensor that a model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name as in Hugging Face checkpoints, where they have it.
    pub name: String,
    /// (rows, cols); a vector is (1, length).
    pub shape: [usize; 2],
    /// What it is for.
    pub role: Role,
}

/// The tensors of a model, in the order in which a forward pass needs them.
///
/// ```
/// use edgellm::config::{ModelConfig, QkNorm};
///
/// let llama = ModelConfig { num_hidden_layers: 1, ..ModelConfig::default() };
/// let qwen3 = ModelConfig { qk_norm: Some(QkNorm::Head), ..llama.clone() };
/// let names = |config| edgellm::tensors::tensors(config).into_iter().map(|tensor| tensor.name);
/// assert!(!names(&llama).any(|name| name.ends_with("q_norm.weight")));
/// assert!(names(&qwen3).any(|name| name == "model.layers.0.self_attn.q_norm.weight"));
/// ```
pub fn tensors(config: &ModelConfig) -> Vec<Tensor> {
    let hidden = config.hidden_size;
    let head_shape = [config.vocab_size, hidden];
    let mut list = vec![Tensor { name: EMBEDDING.to_string(), shape: head_shape, role: Role::Embedding }];
    for layer in 0..config.num_hidden_layers {
        Layer { list: &mut list, config, layer }.add();
    }
    list.push(Tensor { name: FINAL_NORM.to_string(), shape: [1, hidden], role: Role::Float });
    if !config.tie_word_embeddings {
        let (name, role) = (LinearId::LmHead.weight_name(), Role::Linear(LinearId::LmHead));
        list.push(Tensor { name, shape: head_shape, role });
    }
    list
}

/// The name of a float tensor of a layer: `name` as in "self_attn.q_norm.weight".
pub(crate) fn in_layer(layer: usize, name: &str) -> String {
    format!("model.layers.{layer}.{name}")
}

/// Adds the tensors of a layer.
struct Layer<'a> {
    list: &'a mut Vec<Tensor>,
    config: &'a ModelConfig,
    layer: usize,
}

impl Layer<'_> {
    fn linear(&mut self, projection: Projection, rows: usize, cols: usize) {
        let id = LinearId::new(self.layer, projection);
        self.list.push(Tensor { name: id.weight_name(), shape: [rows, cols], role: Role::Linear(id) });
    }

    fn floats(&mut self, name: &str, shape: [usize; 2]) {
        self.list.push(Tensor { name: in_layer(self.layer, name), shape, role: Role::Float });
    }

    fn vector(&mut self, name: &str, len: usize) {
        self.floats(name, [1, len]);
    }

    fn add(mut self) {
        let hidden = self.config.hidden_size;
        let placement = self.config.norm_placement;
        let (before, after) = (placement != NormPlacement::Post, placement != NormPlacement::Pre);
        if before {
            self.vector("input_layernorm.weight", hidden);
        }
        match self.config.layer_type(self.layer) {
            LayerType::FullAttention | LayerType::SlidingAttention => self.attention(),
            LayerType::Conv => self.short_conv(),
            LayerType::LinearAttention => self.linear_attention(),
        }
        // By Hugging Face's name: before the feed-forward layer where there are two norms before, else after attention.
        self.vector("post_attention_layernorm.weight", hidden);
        if before && after {
            self.vector("pre_feedforward_layernorm.weight", hidden);
        }
        self.feed_forward();
        if after {
            self.vector("post_feedforward_layernorm.weight", hidden);
        }
    }

    fn attention(&mut self) {
        let config = self.config;
        let (hidden, head, q, kv) = (config.hidden_size, config.head_dim, config.q_dim(), config.kv_dim());
        for (projection, rows) in [(Projection::Q, q), (Projection::K, kv), (Projection::V, kv)] {
            self.linear(projection, rows, hidden);
            if config.attention_bias {
                self.vector(&format!("{}.bias", projection.module()), rows);
            }
        }
        if config.attention_gate {
            self.linear(Projection::AttentionGate, q, hidden);
        }
        if let Some(norm) = config.qk_norm {
            let (q, k) = if norm == QkNorm::Head { (head, head) } else { (q, kv) };
            self.vector("self_attn.q_norm.weight", q);
            self.vector("self_attn.k_norm.weight", k);
        }
        if config.sub_norms {
            self.vector("self_attn.attn_sub_norm.weight", q);
        }
        self.linear(Projection::O, hidden, q);
    }

    fn short_conv(&mut self) {
        let hidden = self.config.hidden_size;
        self.linear(Projection::ConvIn, 3 * hidden, hidden);
        self.floats("conv.conv.weight", [hidden, self.config.conv_kernel.unwrap_or(0)]);
        self.linear(Projection::ConvOut, hidden, hidden);
    }

    fn linear_attention(&mut self) {
        let (hidden, Some(shape)) = (self.config.hidden_size, self.config.linear_attention) else { return };
        let heads = shape.num_value_heads;
        self.linear(Projection::LinearQkv, shape.conv_dim(), hidden);
        self.linear(Projection::LinearZ, shape.value_dim(), hidden);
        self.linear(Projection::LinearB, heads, hidden);
        self.linear(Projection::LinearA, heads, hidden);
        self.floats("linear_attn.conv1d.weight", [shape.conv_dim(), shape.conv_kernel]);
        self.vector("linear_attn.A", heads);
        self.vector("linear_attn.dt_bias", heads);
        self.vector("linear_attn.norm.weight", shape.value_head_dim);
        self.linear(Projection::LinearOut, hidden, shape.value_dim());
    }

    fn feed_forward(&mut self) {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        self.linear(Projection::Gate, inner, hidden);
        self.linear(Projection::Up, inner, hidden);
        if self.config.sub_norms {
            self.vector("mlp.ffn_sub_norm.weight", inner);
        }
        self.linear(Projection::Down, hidden, inner);
    }
}
