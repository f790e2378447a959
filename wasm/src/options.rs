//! Options as JSON: the names of `index.d.ts`, the defaults of the engine.

use crate::Failure;
use edgellm::json;
use edgellm::sampler::SamplerOptions;
use edgellm::{CacheFormat, Precision, SessionOptions, TokenId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads options; what they do not name is as the engine has it.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    json::read(json.as_bytes()).map_err(|error| Failure::invalid(format!("an option is wrong: {error}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PrecisionName {
    Fast,
    Standard,
    High,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CacheName {
    F16,
    Int8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionJson {
    context_length: Option<usize>,
    precision: Option<PrecisionName>,
    kv_cache: Option<CacheName>,
}

/// `SessionOptions` of `index.d.ts`.
pub(crate) fn session(json: &str) -> Result<SessionOptions, Failure> {
    let given: SessionJson = parse(json)?;
    Ok(SessionOptions {
        context_length: given.context_length,
        precision: match given.precision {
            None => Precision::default(),
            Some(PrecisionName::Fast) => Precision::Fast,
            Some(PrecisionName::Standard) => Precision::Standard,
            Some(PrecisionName::High) => Precision::High,
        },
        kv_cache: match given.kv_cache {
            None => CacheFormat::default(),
            Some(CacheName::F16) => CacheFormat::F16,
            Some(CacheName::Int8) => CacheFormat::Int8,
        },
    })
}

/// `GenerateOptions` of `index.d.ts`, but for what stays in JavaScript.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GenerateOptions {
    #[serde(deserialize_with = "json::limit")]
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    temperature: Option<f32>,
    #[serde(deserialize_with = "json::limit_or_zero")]
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    repeat_last_n: Option<usize>,
    /// JSON has no infinities: null forbids a token.
    logit_bias: Vec<(TokenId, Option<f32>)>,
    seed: Option<u64>,
    pub(crate) ignore_eos: bool,
    pub(crate) logprobs: bool,
}

impl GenerateOptions {
    pub(crate) fn sampler(&self) -> SamplerOptions {
        let usual = SamplerOptions::default();
        let bias = |&(token, bias): &(TokenId, Option<f32>)| (token, bias.unwrap_or(f32::NEG_INFINITY));
        SamplerOptions {
            temperature: self.temperature.unwrap_or(usual.temperature),
            top_k: self.top_k.unwrap_or(usual.top_k),
            top_p: self.top_p.unwrap_or(usual.top_p),
            min_p: self.min_p.unwrap_or(usual.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(usual.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(usual.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(usual.frequency_penalty),
            repeat_last_n: self.repeat_last_n.unwrap_or(usual.repeat_last_n),
            logit_bias: self.logit_bias.iter().map(bias).collect(),
            seed: self.seed.unwrap_or(usual.seed),
        }
    }
}
