//! Rotary settings in transformers' names: as version 5 has them, and beside them as older versions do.

use edgellm::config::{ModelConfig, RopeScaling};
use serde_json::{Map, Value, json};

/// Adds the settings of layers with full attention, and those of layers with sliding attention where they have their own.
pub(super) fn add(config: &ModelConfig, fields: &mut Map<String, Value>) {
    let scaling = config.rope_scaling.as_ref().map(|scaling| parameters(scaling, config));
    let mut full = scaling.clone().unwrap_or_else(|| of([("rope_type", json!("default"))]));
    full.insert("rope_theta".to_string(), json!(config.rope_theta));
    if let Some(rotary) = config.rotary_dim.filter(|&rotary| rotary != config.head_dim) {
        let share = rotary as f64 / config.head_dim.max(1) as f64;
        full.insert("partial_rotary_factor".to_string(), json!(share));
        fields.insert("partial_rotary_factor".to_string(), json!(share));
    }
    fields.insert("rope_theta".to_string(), json!(config.rope_theta));
    let parameters = match config.rope_local_base_freq {
        None => full,
        Some(theta) => {
            fields.insert("rope_local_base_freq".to_string(), json!(theta));
            let sliding = of([("rope_type", json!("default")), ("rope_theta", json!(theta))]);
            of([("full_attention", full.into()), ("sliding_attention", sliding.into())])
        }
    };
    // Older versions of transformers take other fields of LongRoPE, and newer ones take this in place of the parameters.
    if let Some(scaling) =
        scaling.filter(|_| !matches!(config.rope_scaling, Some(RopeScaling::Longrope { .. })))
    {
        fields.insert("rope_scaling".to_string(), scaling.into());
    }
    fields.insert("rope_parameters".to_string(), parameters.into());
}

fn of<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn parameters(scaling: &RopeScaling, config: &ModelConfig) -> Map<String, Value> {
    match scaling {
        RopeScaling::Linear { factor } => of([("rope_type", json!("linear")), ("factor", json!(factor))]),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => of([
            ("rope_type", json!("llama3")),
            ("factor", json!(factor)),
            ("low_freq_factor", json!(low_freq_factor)),
            ("high_freq_factor", json!(high_freq_factor)),
            ("original_max_position_embeddings", json!(original_max_position_embeddings)),
        ]),
        RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            attention_factor,
        } => {
            let mut fields = of([
                ("rope_type", json!("yarn")),
                ("factor", json!(factor)),
                ("original_max_position_embeddings", json!(original_max_position_embeddings)),
            ]);
            let optional =
                [("beta_fast", beta_fast), ("beta_slow", beta_slow), ("attention_factor", attention_factor)];
            let given =
                optional.into_iter().filter_map(|(name, value)| Some((name.to_string(), json!((*value)?))));
            fields.extend(given);
            fields
        }
        RopeScaling::Longrope {
            short_factor,
            long_factor,
            original_max_position_embeddings,
            attention_factor,
        } => {
            let trained = f64::from((*original_max_position_embeddings).max(1));
            of([
                ("rope_type", json!("longrope")),
                ("short_factor", json!(short_factor)),
                ("long_factor", json!(long_factor)),
                ("original_max_position_embeddings", json!(original_max_position_embeddings)),
                // transformers warns without it; the attention factor takes precedence.
                ("factor", json!((config.max_position_embeddings as f64 / trained).max(1.0))),
                ("attention_factor", json!(attention_factor)),
            ])
        }
    }
}
