//! `config.json` as a [`ModelConfig`]: what all families have in common.

use super::files::read_json;
use super::packed::{self, Scheme};
use crate::QuantizeError;
use crate::family::{self, Family};
use edgellm::config::{HiddenAct, LayerType, ModelConfig, RopeScaling};
use serde::Deserialize;
use serde_json::Value;

pub(crate) const FILE: &str = "config.json";
const SCALINGS: &str = "default, linear, llama3, yarn, longrope";

/// The fields of `config.json`. Older and newer versions of transformers put the rotary settings in different places.
#[derive(Deserialize)]
pub(crate) struct HfConfig {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(rename = "_name_or_path")]
    name: Option<String>,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: Option<usize>,
    pub(crate) num_key_value_heads: Option<usize>,
    pub(crate) head_dim: Option<usize>,
    vocab_size: Option<usize>,
    pub(crate) max_position_embeddings: Option<usize>,
    pub(crate) original_max_position_embeddings: Option<u32>,
    rms_norm_eps: Option<f32>,
    pub(crate) norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    pub(crate) rope_local_base_freq: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    tie_embedding: Option<bool>,
    #[serde(default)]
    pub(crate) use_sliding_window: bool,
    pub(crate) sliding_window: Option<usize>,
    sliding_window_pattern: Option<usize>,
    /// The name under which newer versions write it.
    #[serde(rename = "_sliding_window_pattern")]
    newer_sliding_window_pattern: Option<usize>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    hidden_act: Option<String>,
    /// Gemma's name of `hidden_act`, which takes precedence.
    hidden_activation: Option<String>,
    partial_rotary_factor: Option<f64>,
    // Of single families.
    pub(crate) query_pre_attn_scalar: Option<f64>,
    pub(crate) attn_logit_softcapping: Option<f64>,
    pub(crate) final_logit_softcapping: Option<f64>,
    #[serde(default)]
    pub(crate) use_bidirectional_attention: bool,
    pub(crate) no_rope_layers: Option<Vec<u8>>,
    pub(crate) no_rope_layer_interval: Option<usize>,
    pub(crate) embedding_multiplier: Option<f32>,
    pub(crate) attention_multiplier: Option<f32>,
    pub(crate) residual_multiplier: Option<f32>,
    pub(crate) logits_scaling: Option<f32>,
    pub(crate) num_local_experts: Option<usize>,
    pub(crate) shared_intermediate_size: Option<usize>,
    pub(crate) position_embedding_type: Option<String>,
    #[serde(rename = "conv_L_cache")]
    pub(crate) conv_l_cache: Option<usize>,
    #[serde(default)]
    pub(crate) conv_bias: bool,
    pub(crate) full_attn_idxs: Option<Vec<usize>>,
    pub(crate) block_auto_adjust_ff_dim: Option<bool>,
    pub(crate) block_ffn_dim_multiplier: Option<f64>,
    pub(crate) block_multiple_of: Option<usize>,
    pub(crate) block_ff_dim: Option<usize>,
    pub(crate) full_attention_interval: Option<usize>,
    pub(crate) linear_num_key_heads: Option<usize>,
    pub(crate) linear_num_value_heads: Option<usize>,
    pub(crate) linear_key_head_dim: Option<usize>,
    pub(crate) linear_value_head_dim: Option<usize>,
    pub(crate) linear_conv_kernel_dim: Option<usize>,
}

/// A whole model of text and images: the settings of its text model.
#[derive(Deserialize)]
struct Wrapper {
    text_config: Option<Value>,
    architectures: Option<Vec<String>>,
    tie_word_embeddings: Option<bool>,
    quantization_config: Option<Value>,
    compression_config: Option<Value>,
}

/// The settings of a text model among those of a whole model.
#[derive(Default, Deserialize)]
struct Wrapped {
    quantization_config: Option<Value>,
    compression_config: Option<Value>,
}

/// What `config.json` says: the configuration, the model's family and name, and how its weights are quantized.
type Read = (ModelConfig, &'static Family, Option<String>, Option<Box<dyn Scheme>>);

/// `rope_scaling` or `rope_parameters`.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Rope {
    rope_type: Option<String>,
    /// The older name of `rope_type`, which takes precedence.
    #[serde(rename = "type")]
    kind: Option<String>,
    pub(crate) rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<u32>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
    partial_rotary_factor: Option<f64>,
    short_factor: Option<Vec<f64>>,
    long_factor: Option<Vec<f64>>,
    // One for each kind of layer, in place of one for all.
    full_attention: Option<Box<Rope>>,
    sliding_attention: Option<Box<Rope>>,
    // What would change YaRN, and is not implemented.
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
}

pub(crate) fn refuse<T>(
    what: &'static str,
    found: impl ToString,
    supported: &'static str,
) -> Result<T, QuantizeError> {
    Err(QuantizeError::Unsupported { what, found: found.to_string(), supported })
}

/// Reads the configuration. Token ids are set by [`end_tokens`](super::end_tokens), `attention_bias` follows from the
/// tensors.
pub(super) fn read(bytes: &[u8]) -> Result<Read, QuantizeError> {
    let wrapper: Wrapper = read_json(FILE, bytes)?;
    let scheme = wrapper.scheme()?;
    let mut hf: HfConfig = match &wrapper.text_config {
        Some(text) => {
            serde_json::from_value(text.clone()).map_err(|error| QuantizeError::json(FILE, error))?
        }
        None => read_json(FILE, bytes)?,
    };
    if hf.architectures.is_empty() {
        hf.architectures = wrapper.architectures.unwrap_or_default();
    }
    hf.tie_word_embeddings = hf.tie_word_embeddings.or(wrapper.tie_word_embeddings);
    let family =
        family::of_hugging_face(hf.model_type.as_deref(), hf.architectures.first().map(String::as_str))?;
    let mut config = hf.common(family)?;
    family.begin(&mut config)?;
    config.layer_types = hf.layer_types()?;
    if let Some(function) = hf.activation()? {
        config.hidden_act = function;
    }
    (family.read_hugging_face)(&hf, &mut config)?;
    let types = &config.layer_types;
    if types.iter().all(|&layer| layer == LayerType::FullAttention) {
        config.layer_types.clear();
    }
    if !config.layer_types.contains(&LayerType::SlidingAttention) {
        config.sliding_window = None;
    }
    Ok((config, family, hf.name.filter(|name| !name.is_empty()), scheme))
}

impl Wrapper {
    /// How the weights are quantized, if they are. Models of text and images say it beside or in the settings of the text.
    fn scheme(&self) -> Result<Option<Box<dyn Scheme>>, QuantizeError> {
        let wrapped: Wrapped = match &self.text_config {
            Some(text) => {
                serde_json::from_value(text.clone()).map_err(|error| QuantizeError::json(FILE, error))?
            }
            None => Wrapped::default(),
        };
        if self.compression_config.is_some() || wrapped.compression_config.is_some() {
            return refuse("compression_config", "present", "quantization_config");
        }
        let configs = [&self.quantization_config, &wrapped.quantization_config];
        match configs.map(Option::as_ref) {
            [Some(outer), Some(inner)] if outer != inner => {
                refuse("quantization_config", "two that differ", "one")
            }
            [Some(config), _] | [None, Some(config)] => packed::read(config).map(Some),
            [None, None] => Ok(None),
        }
    }
}

impl HfConfig {
    /// The configuration as far as families do not differ.
    fn common(&self, family: &Family) -> Result<ModelConfig, QuantizeError> {
        let heads = self.num_attention_heads.unwrap_or(0);
        let head_dim = match self.head_dim {
            Some(head_dim) => head_dim,
            None => self.hidden_size.checked_div(heads).unwrap_or(0),
        };
        let rope = self.rope();
        let partial = self.partial_rotary().unwrap_or(1.0);
        let rotary_dim = (head_dim as f64 * partial) as usize;
        let max_position_embeddings = self.max_position_embeddings.unwrap_or(2048);
        let config = ModelConfig {
            model_type: family.name.to_string(),
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim,
            vocab_size: self.vocab_size.unwrap_or(0),
            max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: self.rope_theta()?,
            rope_scaling: rope.scaling(max_position_embeddings, self.original_max_position_embeddings)?,
            rotary_dim: (rotary_dim != head_dim).then_some(rotary_dim),
            tie_word_embeddings: self.tie_word_embeddings.or(self.tie_embedding).unwrap_or(false),
            sliding_window: self.sliding_window,
            ..ModelConfig::default()
        };
        Ok(config)
    }

    /// The activation function, if the file names it.
    fn activation(&self) -> Result<Option<HiddenAct>, QuantizeError> {
        match self.hidden_activation.as_deref().or(self.hidden_act.as_deref()) {
            None => Ok(None),
            Some("silu" | "swish") => Ok(Some(HiddenAct::Silu)),
            Some("gelu_pytorch_tanh") => Ok(Some(HiddenAct::GeluPytorchTanh)),
            Some("relu2") => Ok(Some(HiddenAct::Relu2)),
            Some(other) => refuse("hidden_act", other, "silu, gelu_pytorch_tanh, relu2"),
        }
    }

    /// The layers' types as the file lists them, or, in older files, as `max_window_layers` says.
    fn layer_types(&self) -> Result<Vec<LayerType>, QuantizeError> {
        const SUPPORTED: &str = "full_attention, sliding_attention, conv, linear_attention";
        if let Some(types) = &self.layer_types {
            let types = types.iter().map(|name| match name.as_str() {
                "full_attention" | "attention" => Ok(LayerType::FullAttention),
                "sliding_attention" => Ok(LayerType::SlidingAttention),
                "conv" => Ok(LayerType::Conv),
                "linear_attention" => Ok(LayerType::LinearAttention),
                other => refuse("layer_types", other, SUPPORTED),
            });
            return types.collect();
        }
        if self.use_sliding_window {
            // transformers' default, of Qwen2 and Qwen3.
            let first = self.max_window_layers.unwrap_or(28);
            if self.sliding_window.is_none() {
                return refuse("use_sliding_window", "true, without sliding_window", "both of them");
            }
            return Ok(self.each_layer(|layer| layer >= first));
        }
        Ok(Vec::new())
    }

    /// Sliding attention in the layers that `slides` names, full attention in the others.
    pub(crate) fn each_layer(&self, slides: impl Fn(usize) -> bool) -> Vec<LayerType> {
        let layer_type =
            |layer| if slides(layer) { LayerType::SlidingAttention } else { LayerType::FullAttention };
        (0..self.num_hidden_layers).map(layer_type).collect()
    }

    /// Every such layer has full attention, if the file says it.
    pub(crate) fn sliding_window_pattern(&self) -> Option<usize> {
        self.sliding_window_pattern.or(self.newer_sliding_window_pattern)
    }

    /// Whether the file lists the types of the layers.
    pub(crate) fn has_layer_types(&self) -> bool {
        self.layer_types.is_some()
    }

    /// The rotary settings of layers with full attention.
    pub(crate) fn rope(&self) -> Rope {
        self.rope_scaling.as_ref().or(self.full_rope()).cloned().unwrap_or_default()
    }

    fn full_rope(&self) -> Option<&Rope> {
        let parameters = self.rope_parameters.as_ref()?;
        Some(parameters.full_attention.as_deref().unwrap_or(parameters))
    }

    /// The share of a head that is rotated, if the file says it.
    pub(crate) fn partial_rotary(&self) -> Option<f64> {
        self.rope().partial_rotary_factor.or(self.partial_rotary_factor)
    }

    /// The rotary settings of layers with sliding attention, where they have their own.
    pub(crate) fn sliding_rope(&self) -> Option<&Rope> {
        self.rope_parameters.as_ref()?.sliding_attention.as_deref()
    }

    /// The base of the rotary frequencies, wherever it stands.
    fn rope_theta(&self) -> Result<f64, QuantizeError> {
        let ropes = [self.full_rope(), self.rope_scaling.as_ref()].into_iter().flatten();
        let mut given = ropes.map(|rope| rope.rope_theta).chain([self.rope_theta]).flatten();
        let theta = given.next().unwrap_or(10_000.0);
        match given.find(|&other| other != theta) {
            Some(other) => refuse("rope_theta", format!("{theta} and {other}"), "one value"),
            None => Ok(theta),
        }
    }
}

impl Rope {
    /// The name of the scaling, `None` for none.
    pub(crate) fn name(&self) -> Option<&str> {
        self.rope_type.as_deref().or(self.kind.as_deref()).filter(|&name| name != "default")
    }

    fn scaling(&self, max: usize, original: Option<u32>) -> Result<Option<RopeScaling>, QuantizeError> {
        let need = |value: Option<f64>, field: &str| {
            value.ok_or_else(|| QuantizeError::json(FILE, format!("rope_scaling has no {field}")))
        };
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        let trained = self.original_max_position_embeddings.or(original).unwrap_or(max);
        Ok(match self.name() {
            None if self.rope_type.is_none() && self.factor.is_some_and(|factor| factor != 1.0) => {
                return refuse("rope_type", "none, with a factor", SCALINGS);
            }
            None => None,
            Some("linear") => Some(RopeScaling::Linear { factor: need(self.factor, "factor")? }),
            Some("llama3") => Some(RopeScaling::Llama3 {
                factor: need(self.factor, "factor")?,
                low_freq_factor: need(self.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: need(self.high_freq_factor, "high_freq_factor")?,
                original_max_position_embeddings: trained,
            }),
            // The first Phi-3 files call it "su", or "yarn", with factors that YaRN does not have.
            Some("longrope" | "su") => Some(self.longrope(max, trained)?),
            Some("yarn") if self.long_factor.is_some() => Some(self.longrope(max, trained)?),
            Some("yarn") => {
                if let Some(scale) = self.mscale.or(self.mscale_all_dim) {
                    return refuse("mscale or mscale_all_dim", scale, "YaRN without them");
                }
                if self.truncate == Some(false) {
                    return refuse("truncate", false, "true");
                }
                Some(RopeScaling::Yarn {
                    factor: need(self.factor, "factor")?,
                    original_max_position_embeddings: trained,
                    beta_fast: self.beta_fast,
                    beta_slow: self.beta_slow,
                    attention_factor: self.attention_factor,
                })
            }
            Some(other) => return refuse("rope_type", other, SCALINGS),
        })
    }

    /// LongRoPE (arXiv 2402.13753), section 3.3: attention grows with the logarithm of the context.
    fn longrope(&self, max: u32, trained: u32) -> Result<RopeScaling, QuantizeError> {
        let need = |factors: &Option<Vec<f64>>, field: &str| {
            let missing = || QuantizeError::json(FILE, format!("rope_scaling has no {field}"));
            factors.clone().ok_or_else(missing)
        };
        let factor = self.factor.unwrap_or(f64::from(max) / f64::from(trained.max(1)));
        let grown = (1.0 + factor.ln() / f64::from(trained).ln()).sqrt();
        // Single precision, as GGUF files hold it.
        let attention_factor = self.attention_factor.unwrap_or(if factor > 1.0 { grown } else { 1.0 }) as f32;
        Ok(RopeScaling::Longrope {
            short_factor: need(&self.short_factor, "short_factor")?,
            long_factor: need(&self.long_factor, "long_factor")?,
            original_max_position_embeddings: trained,
            attention_factor: f64::from(attention_factor),
        })
    }
}
