//! The linear layers of a model by name, and hooks into them.
//!
//! Calibration sees the inputs of every layer, and adapters such as LoRA add to the outputs, without a copy of the
//! forward pass: both implement [`LinearHooks`]. A pass without hooks has the type `()` in its place and compiles to
//! the same code as if there were none.

/// Names a linear layer of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinearId {
    /// A projection of a decoder layer.
    Layer {
        /// Index of the decoder layer.
        layer: usize,
        /// Which of its projections.
        projection: Projection,
    },
    /// The head, from hidden states to logits.
    LmHead,
}

/// The linear layers of a decoder layer, each (rows, cols). Which of them a layer has depends on its type; C and V are the
/// convolution's and the values' widths of [`LinearAttention`](crate::config::LinearAttention).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Projection {
    /// `q_proj`: (q_dim, hidden_size).
    Q,
    /// `k_proj`: (kv_dim, hidden_size).
    K,
    /// `v_proj`: (kv_dim, hidden_size).
    V,
    /// The gate of attention's result: (q_dim, hidden_size).
    AttentionGate,
    /// `o_proj`: (hidden_size, q_dim).
    O,
    /// Input of a short convolution, with both its gates: (3 hidden_size, hidden_size).
    ConvIn,
    /// Output of a short convolution: (hidden_size, hidden_size).
    ConvOut,
    /// Queries, keys and values of linear attention: (C, hidden_size).
    LinearQkv,
    /// The gate of linear attention's result: (V, hidden_size).
    LinearZ,
    /// How much linear attention writes to its state: (num_value_heads, hidden_size).
    LinearB,
    /// How much of it linear attention forgets: (num_value_heads, hidden_size).
    LinearA,
    /// Output of linear attention: (hidden_size, V).
    LinearOut,
    /// `gate_proj`: (intermediate_size, hidden_size).
    Gate,
    /// `up_proj`: (intermediate_size, hidden_size).
    Up,
    /// `down_proj`: (hidden_size, intermediate_size).
    Down,
}

impl LinearId {
    /// A projection of the decoder layer with this index.
    pub const fn new(layer: usize, projection: Projection) -> Self {
        LinearId::Layer { layer, projection }
    }

    /// The name of its weight in a model file. Where the head is tied to the embedding, the file has no weight of the
    /// head's name.
    ///
    /// ```
    /// use edgellm::linear::{LinearId, Projection};
    ///
    /// let id = LinearId::new(3, Projection::Down);
    /// assert_eq!(id.weight_name(), "model.layers.3.mlp.down_proj.weight");
    /// ```
    pub fn weight_name(self) -> String {
        match self {
            LinearId::Layer { layer, projection } => {
                format!("model.layers.{layer}.{}.weight", projection.module())
            }
            LinearId::LmHead => "lm_head.weight".to_string(),
        }
    }
}

impl Projection {
    /// Path of the module in a decoder layer, as Hugging Face names it: `self_attn.q_proj`.
    pub const fn module(self) -> &'static str {
        match self {
            Projection::Q => "self_attn.q_proj",
            Projection::K => "self_attn.k_proj",
            Projection::V => "self_attn.v_proj",
            Projection::AttentionGate => "self_attn.gate_proj",
            Projection::O => "self_attn.o_proj",
            Projection::ConvIn => "conv.in_proj",
            Projection::ConvOut => "conv.out_proj",
            Projection::LinearQkv => "linear_attn.in_proj_qkv",
            Projection::LinearZ => "linear_attn.in_proj_z",
            Projection::LinearB => "linear_attn.in_proj_b",
            Projection::LinearA => "linear_attn.in_proj_a",
            Projection::LinearOut => "linear_attn.out_proj",
            Projection::Gate => "mlp.gate_proj",
            Projection::Up => "mlp.up_proj",
            Projection::Down => "mlp.down_proj",
        }
    }
}

/// Hooks into the linear layers of a forward pass; the defaults do nothing.
///
/// A pass over T tokens calls both methods once for each linear layer, on the thread that runs the pass. Layers that
/// share an input, such as q, k and v, are called one after the other with the same rows. The head's rows are those of
/// the tokens whose logits are wanted.
pub trait LinearHooks {
    /// Observes `input`, (T, cols), before the layer quantizes it.
    fn observe(&mut self, id: LinearId, input: &[f32], cols: usize) {
        let _ = (id, input, cols);
    }

    /// Adds to `output`, (T, rows), which holds the products of `input`, (T, cols), with the weights; biases follow.
    fn add(&mut self, id: LinearId, input: &[f32], cols: usize, output: &mut [f32]) {
        let _ = (id, input, cols, output);
    }
}

/// No hooks.
impl LinearHooks for () {}

/// Hooks by reference.
impl<H: LinearHooks + ?Sized> LinearHooks for &mut H {
    fn observe(&mut self, id: LinearId, input: &[f32], cols: usize) {
        (**self).observe(id, input, cols);
    }

    fn add(&mut self, id: LinearId, input: &[f32], cols: usize, output: &mut [f32]) {
        (**self).add(id, input, cols, output);
    }
}
