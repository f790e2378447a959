//! Configurations as other programs write them.

use super::{Source, hf_config, tokenizer_json};
use crate::QuantizeError;
use crate::testing::{CONFIG_JSON, HIDDEN, shard, tiny_tensors};
use edgellm::config::{HiddenAct, ModelConfig, RopeScaling};
use safetensors::Dtype;

/// The configuration with other values.
fn with(changes: &[(&str, &str)]) -> Result<ModelConfig, QuantizeError> {
    let mut json = CONFIG_JSON.to_string();
    for (from, to) in changes {
        assert!(json.contains(from), "{from}");
        json = json.replace(from, to);
    }
    hf_config::read(json.as_bytes()).map(|(config, ..)| config)
}

/// The configuration with more fields, after the others.
fn and(fields: &str) -> Result<ModelConfig, QuantizeError> {
    let end = r#""eos_token_id": 2"#;
    with(&[(end, &format!("{end}, {fields}"))])
}

#[test]
fn numbers_and_nulls_as_other_programs_write_them() {
    let usual = with(&[]).unwrap();
    for changes in [
        (r#""max_position_embeddings": 128"#, r#""max_position_embeddings": 128.0"#),
        (r#""num_hidden_layers": 1"#, r#""num_hidden_layers": 1e0"#),
        (r#""rope_theta": 1000000.0"#, r#""rope_theta": 1000000"#),
        (r#""hidden_size": 64"#, r#""hidden_size": 32, "hidden_size": 64.0"#),
        (r#""model_type": "qwen2","#, r#""model_type": null,"#),
        (r#""hidden_act": "silu""#, r#""hidden_act": null"#),
    ] {
        assert_eq!(with(&[changes]).unwrap(), usual, "{changes:?}");
    }
    for fields in [
        r#""head_dim": null, "rope_scaling": null, "quantization_config": null, "sliding_window": null"#,
        r#""use_sliding_window": null, "partial_rotary_factor": null, "_name_or_path": null"#,
        r#""layer_types": ["full_attention"], "torch_dtype": "bfloat16", "unknown": {"a": [null]}"#,
        r#""num_attention_heads": 8, "num_attention_heads": 4, "pad_token_id": -1"#,
    ] {
        assert_eq!(and(fields).unwrap(), usual, "{fields}");
    }
    let defaults = with(&[
        (r#""num_key_value_heads": 2"#, r#""num_key_value_heads": null"#),
        (r#""rms_norm_eps": 1e-06"#, r#""rms_norm_eps": null"#),
        (r#""max_position_embeddings": 128"#, r#""max_position_embeddings": null"#),
        (r#""tie_word_embeddings": true"#, r#""tie_word_embeddings": null"#),
        (r#""rope_theta": 1000000.0"#, r#""rope_theta": null"#),
    ])
    .unwrap();
    assert_eq!((defaults.num_key_value_heads, defaults.max_position_embeddings), (4, 2048));
    assert_eq!(
        (defaults.rms_norm_eps, defaults.rope_theta, defaults.tie_word_embeddings),
        (1e-6, 1e4, false)
    );
    let error = with(&[(r#""hidden_size": 64"#, r#""hidden_size": null"#)]).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("hidden_size: this field is missing"), "{error}");
}

#[test]
fn names_of_the_same_thing_may_occur_together() {
    let linear = Some(RopeScaling::Linear { factor: 2.0 });
    for fields in [
        r#""rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2.0}"#,
        r#""rope_scaling": {"type": "linear", "rope_type": null, "factor": 2}"#,
        r#""rope_scaling": {"type": "default", "rope_type": "linear", "factor": 2.0, "finetuned": true}"#,
        r#""rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000000.0}"#,
        r#""rope_scaling": null, "rope_parameters": {"rope_type": "linear", "factor": 2.0}"#,
        r#""rope_scaling": {"rope_type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "linear", "factor": 2.0}"#,
    ] {
        let config = and(fields).unwrap();
        assert_eq!((&config.rope_scaling, config.rope_theta), (&linear, 1e6), "{fields}");
    }
    let yarn =
        r#""rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64.0}"#;
    assert!(matches!(
        and(yarn).unwrap().rope_scaling,
        Some(RopeScaling::Yarn { original_max_position_embeddings: 64, .. })
    ));
}

#[test]
fn what_changes_the_computation_is_refused_by_name() {
    for (fields, words) in [
        (r#""rope_scaling": {"rope_type": "dynamic", "factor": 2.0}"#, ["rope_type", "dynamic"]),
        (r#""rope_scaling": {"factor": 2.0}"#, ["rope_type", "factor"]),
        (r#""rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 0.7}"#, ["mscale", "0.7"]),
        (r#""rope_scaling": {"type": "yarn", "factor": 2.0, "truncate": false}"#, ["truncate", "false"]),
        (r#""rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}"#, ["rope_theta", "5000"]),
        (r#""use_sliding_window": true"#, ["use_sliding_window", "without sliding_window"]),
        (r#""layer_types": ["mamba"]"#, ["layer_types", "mamba"]),
        (r#""quantization_config": {"quant_method": "hqq", "bits": 4}"#, ["quantization_config", "hqq"]),
        (
            r#""quantization_config": {"quant_method": "gptq", "bits": 4}"#,
            ["quantization_config", "group_size"],
        ),
        (r#""compression_config": {"quant_method": "gptq"}"#, ["compression_config", "quantization_config"]),
        (r#""max_position_embeddings": 0.5"#, ["max_position_embeddings", "0.5"]),
        (r#""num_attention_heads": -1"#, ["num_attention_heads", "-1"]),
        (r#""vocab_size": "262""#, ["vocab_size", "262"]),
    ] {
        let error = and(fields).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{fields}: {error}");
    }
}

/// The tokens that begin a text and end an answer, as these files say.
fn ends(config: &str, generation: &str, tokenizer_config: &str) -> (Option<u32>, Vec<u32>) {
    let tokens = r#""bos_token_id": 0, "eos_token_id": 2"#;
    let config = CONFIG_JSON.replace(tokens, config);
    let (tokenizer, weights) = (tokenizer_json(), shard(&tiny_tensors(), Dtype::BF16));
    let files: [(&str, &[u8]); 5] = [
        ("config.json", config.as_bytes()),
        ("generation_config.json", generation.as_bytes()),
        ("tokenizer_config.json", tokenizer_config.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("model.safetensors", &weights),
    ];
    let config = Source::from_files(&files).unwrap().config;
    (config.bos_token_id, config.eos_token_ids)
}

#[test]
fn token_ids_may_be_missing_in_many_ways() {
    // Tokens 0 and 2 end answers by their names.
    let add = r#"{"add_bos_token": true, "eos_token": null, "chat_template": null}"#;
    let of = |ids: &str| ends(&format!(r#""bos_token_id": {ids}, "eos_token_id": {ids}"#), "{}", add);
    assert_eq!(of("null"), (None, vec![0, 2]));
    assert_eq!(of("-1"), (None, vec![0, 2]));
    assert_eq!(of("[null, -1]"), (None, vec![0, 2]));
    assert_eq!(of("5.0"), (Some(5), vec![0, 2, 5]));
    assert_eq!(of("[7, null, 8.0]"), (Some(7), vec![0, 2, 7, 8]));
    let generation = r#"{"eos_token_id": [9], "bos_token_id": 3, "bos_token_id": 4, "pad_token_id": null}"#;
    assert_eq!(ends(r#""bos_token_id": null"#, generation, add), (Some(4), vec![0, 2, 9]));
    let nulls = r#"{"add_bos_token": null, "eos_token": {"content": "h"}, "model_max_length": 1e30}"#;
    assert_eq!(ends(r#""bos_token_id": 1"#, "{}", nulls), (None, vec![0, 2]));
}

#[test]
fn lists_in_a_tokenizer_may_be_null() {
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer_json()).unwrap();
    tokenizer["added_tokens"] = serde_json::Value::Null;
    tokenizer["model"]["merges"] = serde_json::Value::Null;
    let (tokenizer, weights) = (tokenizer.to_string(), shard(&tiny_tensors(), Dtype::BF16));
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", tokenizer.as_bytes()),
        ("model.safetensors", &weights),
    ];
    let source = Source::from_files(&files).unwrap();
    assert_eq!((source.config.hidden_size, source.config.eos_token_ids), (HIDDEN, vec![2]));
}

/// Families make lists of layers, and of rows: what would not fit memory is refused before.
#[test]
fn numbers_that_no_model_has_are_refused_in_every_family() {
    for name in [
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "qwen3_5_text",
        "gemma3_text",
        "phi3",
        "smollm3",
        "olmo2",
        "granite",
        "bitnet",
        "lfm2",
    ] {
        let with = |field: &str, value: u64| {
            let mut config: serde_json::Value = serde_json::from_str(CONFIG_JSON).unwrap();
            config["model_type"] = name.into();
            config[field] = value.into();
            config["sliding_window"] = 8.into();
            config.to_string()
        };
        let error = hf_config::read(with("num_hidden_layers", 1 << 50).as_bytes()).err().unwrap().to_string();
        assert!(error.contains("num_hidden_layers"), "{name}: {error}");
        for field in ["head_dim", "intermediate_size", "num_attention_heads", "num_key_value_heads"] {
            let weights = shard(&tiny_tensors(), Dtype::BF16);
            let (config, tokenizer) = (with(field, 1 << 50), tokenizer_json());
            let files: [(&str, &[u8]); 3] = [
                ("config.json", config.as_bytes()),
                ("tokenizer.json", &tokenizer),
                ("model.safetensors", &weights),
            ];
            // Phi-3 and Granite divide the width by the heads, whatever head_dim says.
            let ignored = field == "head_dim" && matches!(name, "phi3" | "granite");
            assert!(Source::from_files(&files).is_err() || ignored, "{name}: {field}");
        }
    }
}

/// A family's own activation function is a default, and not in spite of the file.
#[test]
fn the_file_names_the_activation_function() {
    let act = |name: &str, fields: &str| {
        let json =
            CONFIG_JSON.replace(r#""hidden_act": "silu""#, fields).replace("\"qwen2\"", &format!("{name:?}"));
        hf_config::read(json.as_bytes()).map(|(config, ..)| config).unwrap().hidden_act
    };
    assert_eq!(act("bitnet", r#""x": 0"#), HiddenAct::Relu2);
    assert_eq!(act("bitnet", r#""hidden_act": "silu""#), HiddenAct::Silu);
    assert_eq!(act("llama", r#""hidden_act": "relu2""#), HiddenAct::Relu2);
    let both = r#""hidden_act": "silu", "hidden_activation": "gelu_pytorch_tanh", "_sliding_window_pattern": 2,
        "sliding_window_pattern": 2"#;
    assert_eq!(act("gemma3_text", both), HiddenAct::GeluPytorchTanh);
}
