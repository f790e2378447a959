//! `config.json`: what transformers reads of each family, and the check that it says all that the model is.

use super::tokenizer::{Token, Tokens};
use super::{Dtype, ExportError, TRANSFORMERS, rope};
use crate::family;
use crate::source::config_of;
use edgellm::config::{HiddenAct, LayerType, ModelConfig, RopeScaling};
use serde_json::{Map, Value, json};

/// What only some families of transformers have.
struct Family {
    /// The name in the model file.
    name: &'static str,
    /// `head_dim` can be another than the share of `hidden_size`.
    head_dim: bool,
    /// `hidden_size` must be a multiple of the number of heads.
    divides: bool,
    /// `attention_bias` means a bias of o_proj too, and is off.
    bias_field: bool,
    /// q_proj, k_proj and v_proj have biases.
    biases: bool,
    sliding: Sliding,
    /// Heads can be rotated in part.
    partial: bool,
    /// Adds what no other family has, and changes what it has under another name.
    complete: fn(&ModelConfig, &mut Map<String, Value>),
}

/// Which layers can have sliding attention.
#[derive(Clone, Copy, PartialEq)]
enum Sliding {
    None,
    /// All or none.
    All,
    /// Those that a list names.
    Listed,
}

const LLAMA: Family = Family {
    name: "llama",
    head_dim: true,
    divides: true,
    bias_field: true,
    biases: false,
    sliding: Sliding::None,
    partial: false,
    complete: |_, fields| set(fields, "mlp_bias", false),
};

/// The families that can be exported.
static FAMILIES: [Family; 9] = [
    LLAMA,
    Family {
        name: "mistral",
        divides: false,
        bias_field: false,
        sliding: Sliding::All,
        complete: |_, _| {},
        ..LLAMA
    },
    Family { name: "qwen2", bias_field: false, biases: true, ..QWEN3 },
    QWEN3,
    Family { name: "gemma3_text", sliding: Sliding::Listed, complete: gemma3, ..LLAMA },
    Family {
        name: "phi3",
        head_dim: false,
        divides: false,
        bias_field: false,
        sliding: Sliding::All,
        partial: true,
        complete: phi3,
        ..LLAMA
    },
    Family {
        name: "smollm3",
        divides: false,
        sliding: Sliding::Listed,
        complete: |config, fields| {
            listed_layers(config, fields);
            set(fields, "mlp_bias", false);
            let rotated = |layer| u8::from(!config.no_rope_layers.contains(&layer));
            let rotated: Vec<u8> = (0..config.num_hidden_layers).map(rotated).collect();
            set(fields, "no_rope_layers", rotated);
        },
        ..LLAMA
    },
    Family { name: "olmo2", divides: false, complete: |_, _| {}, ..LLAMA },
    Family { name: "granite", head_dim: false, divides: false, complete: granite, ..LLAMA },
];

const QWEN3: Family = Family {
    name: "qwen3",
    divides: false,
    sliding: Sliding::Listed,
    complete: |config, fields| {
        listed_layers(config, fields);
        // Unused where the layers are listed.
        set(fields, "max_window_layers", config.num_hidden_layers);
    },
    ..LLAMA
};

fn set(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_string(), value.into());
}

/// The shortest decimal of a 32-bit float, which is read as the same.
fn float(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn layer_types(config: &ModelConfig) -> Value {
    (0..config.num_hidden_layers).map(|layer| json!(config.layer_type(layer))).collect()
}

fn slides(config: &ModelConfig) -> bool {
    config.layer_types.contains(&LayerType::SlidingAttention)
}

fn listed_layers(config: &ModelConfig, fields: &mut Map<String, Value>) {
    set(fields, "use_sliding_window", slides(config));
    set(fields, "layer_types", layer_types(config));
}

fn gemma3(config: &ModelConfig, fields: &mut Map<String, Value>) {
    set(fields, "layer_types", layer_types(config));
    // Its root divides attention scores. transformers takes whole numbers only.
    let scale = f64::from(config.attention_scale());
    set(fields, "query_pre_attn_scalar", (1.0 / (scale * scale)).round() as u64);
    for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
        set(fields, name, Value::Null);
    }
    set(fields, "use_bidirectional_attention", false);
}

fn phi3(config: &ModelConfig, fields: &mut Map<String, Value>) {
    let trained = match &config.rope_scaling {
        Some(RopeScaling::Longrope { original_max_position_embeddings, .. }) => {
            *original_max_position_embeddings as usize
        }
        _ => config.max_position_embeddings,
    };
    // It takes precedence over the one in the rotary settings.
    set(fields, "original_max_position_embeddings", trained);
    set(fields, "resid_pdrop", 0.0);
    set(fields, "embd_pdrop", 0.0);
}

fn granite(config: &ModelConfig, fields: &mut Map<String, Value>) {
    set(fields, "mlp_bias", false);
    set(fields, "embedding_multiplier", float(config.embedding_multiplier.unwrap_or(1.0)));
    set(fields, "attention_multiplier", float(config.attention_scale()));
    set(fields, "residual_multiplier", float(config.residual_multiplier.unwrap_or(1.0)));
    set(fields, "logits_scaling", float(config.logits_scaling.unwrap_or(1.0)));
}

fn hidden_act(function: HiddenAct) -> &'static str {
    match function {
        HiddenAct::Silu => "silu",
        HiddenAct::GeluPytorchTanh => "gelu_pytorch_tanh",
        HiddenAct::Relu2 => "relu2",
    }
}

fn find(config: &ModelConfig) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == config.model_type)
}

/// `config.json` of a model that [`check`] has accepted.
pub(super) fn json(config: &ModelConfig, tokens: &Tokens, dtype: Dtype) -> Value {
    let mut fields = Map::new();
    if let Some(family) = find(config) {
        let class =
            family::of_hugging_face(Some(family.name), None).map(|family| family.class).unwrap_or_default();
        set(&mut fields, "architectures", vec![class]);
        set(&mut fields, "dtype", dtype.torch_name());
        shape(family, config, &mut fields);
        let id = |token: &Option<Token>| token.as_ref().map(|token| token.id);
        set(&mut fields, "bos_token_id", id(&tokens.bos));
        set(&mut fields, "eos_token_id", tokens.ends(config));
        // transformers does not train the embedding of this one, so none that has another use.
        set(&mut fields, "pad_token_id", id(&tokens.own_pad(config)));
        set(&mut fields, "transformers_version", TRANSFORMERS);
    }
    Value::Object(fields)
}

/// What the model computes: all fields but those of tokens and types.
fn shape(family: &Family, config: &ModelConfig, fields: &mut Map<String, Value>) {
    set(fields, "model_type", family.name);
    set(fields, "vocab_size", config.vocab_size);
    set(fields, "hidden_size", config.hidden_size);
    set(fields, "intermediate_size", config.intermediate_size);
    set(fields, "num_hidden_layers", config.num_hidden_layers);
    set(fields, "num_attention_heads", config.num_attention_heads);
    set(fields, "num_key_value_heads", config.num_key_value_heads);
    if family.head_dim {
        set(fields, "head_dim", config.head_dim);
    }
    let activation = if family.name == "gemma3_text" { "hidden_activation" } else { "hidden_act" };
    set(fields, activation, hidden_act(config.hidden_act));
    set(fields, "max_position_embeddings", config.max_position_embeddings);
    set(fields, "rms_norm_eps", float(config.rms_norm_eps));
    rope::add(config, fields);
    if family.sliding != Sliding::None {
        set(fields, "sliding_window", config.sliding_window.filter(|_| slides(config)));
    }
    if family.bias_field {
        set(fields, "attention_bias", false);
    }
    set(fields, "attention_dropout", 0.0);
    set(fields, "initializer_range", 0.02);
    set(fields, "tie_word_embeddings", config.tie_word_embeddings);
    set(fields, "use_cache", true);
    (family.complete)(config, fields);
}

/// Checks that transformers has such a model: first what is known of its families, then that what is written says everything,
/// by reading it again.
///
/// # Errors
/// [`ExportError`] names the family, or the field.
pub(super) fn check(config: &ModelConfig) -> Result<(), ExportError> {
    let Some(family) = find(config) else {
        let exported = FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>().join(", ");
        return Err(ExportError::Family { family: config.model_type.clone(), exported });
    };
    let refuse = |field: &str, value: String| {
        Err(ExportError::Feature { family: family.name.to_string(), field: field.to_string(), value })
    };
    let sliding = (0..config.num_hidden_layers)
        .filter(|&layer| config.layer_type(layer) == LayerType::SlidingAttention)
        .count();
    let allowed = match family.sliding {
        Sliding::None => sliding == 0,
        Sliding::All => sliding == 0 || sliding == config.num_hidden_layers,
        Sliding::Listed => true,
    };
    if !allowed {
        return refuse("layer_types", format!("{sliding} layers of sliding attention"));
    }
    if config.attention_bias != family.biases {
        return refuse("attention_bias", config.attention_bias.to_string());
    }
    if !family.partial && config.rotary_dim() != config.head_dim {
        return refuse("rotary_dim", config.rotary_dim().to_string());
    }
    if family.divides && !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        return refuse(
            "hidden_size",
            format!("{} with {} heads", config.hidden_size, config.num_attention_heads),
        );
    }
    if let ("phi3", Some(scaling)) = (family.name, &config.rope_scaling)
        && !matches!(scaling, RopeScaling::Longrope { .. })
    {
        return refuse("rope_scaling", json!(scaling).to_string());
    }
    let mut fields = Map::new();
    shape(family, config, &mut fields);
    let read = config_of(Value::Object(fields).to_string().as_bytes())?;
    let (ours, theirs) = (comparable(config), comparable(&read));
    let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
    match names.into_iter().find(|name| ours.get(*name) != theirs.get(*name)) {
        None => Ok(()),
        Some(name) => refuse(name, ours.get(name).unwrap_or(&Value::Null).to_string()),
    }
}

/// The fields that decide what is computed, those that are absent with what they then stand for.
fn comparable(config: &ModelConfig) -> Map<String, Value> {
    let config = ModelConfig {
        attention_bias: false,
        // Readers decide by the tensors.
        tie_word_embeddings: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        rotary_dim: Some(config.rotary_dim()),
        attention_multiplier: Some(config.attention_scale()),
        embedding_multiplier: Some(config.embedding_multiplier.unwrap_or(1.0)),
        residual_multiplier: Some(config.residual_multiplier.unwrap_or(1.0)),
        logits_scaling: Some(config.logits_scaling.unwrap_or(1.0)),
        layer_types: if slides(config) { config.layer_types.clone() } else { full(config) },
        sliding_window: config.sliding_window.filter(|_| slides(config)),
        ..config.clone()
    };
    match json!(config) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The types of the layers, none if all have full attention.
fn full(config: &ModelConfig) -> Vec<LayerType> {
    let all = config.layer_types.iter().all(|&layer| layer == LayerType::FullAttention);
    if all { Vec::new() } else { config.layer_types.clone() }
}
