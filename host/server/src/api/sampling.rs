//! Fields that chat and plain completions share.

use super::number::{candidates, count, limit, seed, whole};
use super::object::Object;
use crate::error::ApiError;
use edgellm::TokenId;
use edgellm::sampler::SamplerOptions;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How tokens are sampled, and when an answer ends. The defaults are the engine's, which are llama.cpp's.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Sampling {
    /// Randomness: below 1 less, above 1 more; 0 always takes the most likely token. Default 0.8.
    #[schema(minimum = 0, maximum = 2)]
    pub(crate) temperature: Option<f64>,
    /// Sample from the most likely tokens whose probabilities add up to this. Default 0.95.
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) top_p: Option<f64>,
    /// Sample from this many of the most likely tokens; 0 or -1 disables. Default 40.
    #[serde(default, deserialize_with = "candidates")]
    #[schema(minimum = -1, maximum = 1000000)]
    pub(crate) top_k: Option<u32>,
    /// Exclude tokens whose probability is below this times that of the most likely one. Default 0.05.
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) min_p: Option<f64>,
    /// Tokens of the answer, at most; by default, or with -1, as many as the context has room for. With 0, only the prompt is
    /// processed.
    #[serde(default, deserialize_with = "limit")]
    #[schema(minimum = -1)]
    pub(crate) max_tokens: Option<u32>,
    /// The newer name of `max_tokens`, which takes precedence.
    #[serde(default, deserialize_with = "limit")]
    #[schema(minimum = -1)]
    pub(crate) max_completion_tokens: Option<u32>,
    /// llama.cpp's name of `max_tokens`, which takes precedence.
    #[serde(default, deserialize_with = "limit")]
    #[schema(minimum = -1)]
    pub(crate) n_predict: Option<u32>,
    /// Stop strings: the answer ends before any of them. At most 16, none empty or longer than 1,024 characters.
    #[schema(value_type = Option<OneOrMany>)]
    pub(crate) stop: Option<OneOrMany>,
    /// The same seed gives the same answer; by default, or with -1, the seed is random.
    #[serde(default, deserialize_with = "seed")]
    pub(crate) seed: Option<i64>,
    /// Number of choices.
    #[serde(default, deserialize_with = "count")]
    #[schema(minimum = 1, maximum = 128)]
    pub(crate) n: Option<u32>,
    /// Subtracted from the logits of recent tokens.
    #[schema(minimum = -2, maximum = 2)]
    pub(crate) presence_penalty: Option<f64>,
    /// Subtracted from the logits of recent tokens, once for each occurrence.
    #[schema(minimum = -2, maximum = 2)]
    pub(crate) frequency_penalty: Option<f64>,
    /// Divides the logits of recent tokens; 1 disables.
    #[schema(minimum = 0.01, maximum = 100)]
    pub(crate) repetition_penalty: Option<f64>,
    /// llama.cpp's name of `repetition_penalty`, which counts where both are given.
    #[schema(minimum = 0.01, maximum = 100)]
    pub(crate) repeat_penalty: Option<f64>,
    /// How many tokens the three penalties look back, those of the prompt included; 0 disables them, -1 is the whole
    /// context. Default 64.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = -1, maximum = 1000000)]
    pub(crate) repeat_last_n: Option<i64>,
    /// Go on after the model's end tokens.
    pub(crate) ignore_eos: Option<bool>,
    /// Added to the logits of tokens, by token id; -100 forbids a token.
    pub(crate) logit_bias: Option<BTreeMap<String, f64>>,
    /// Answer as server-sent events, token by token.
    pub(crate) stream: Option<bool>,
    #[schema(value_type = Option<StreamOptions>)]
    pub(crate) stream_options: Option<Object<StreamOptions>>,
    /// Name of the end user, for the log.
    pub(crate) user: Option<String>,
}

/// One text or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// Options of a streamed answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    /// End the stream with a chunk that has the usage.
    pub(crate) include_usage: Option<bool>,
}

/// Characters of a stop string, at most; characters, because that is what a JSON schema's `maxLength` counts.
pub(crate) const STOP: usize = 1024;

/// Refuses the field `name` unless `ok`.
pub(crate) fn check(name: &str, ok: bool, rule: &str) -> Result<(), ApiError> {
    if ok { Ok(()) } else { Err(ApiError::field(name, format!("{name} must be {rule}"))) }
}

impl Sampling {
    /// Checks every field.
    ///
    /// # Errors
    /// 400 with the name of the first that is wrong.
    pub(crate) fn validate(&self, max_choices: usize) -> Result<(), ApiError> {
        let within =
            |value: Option<f64>, low: f64, high: f64| value.is_none_or(|x| (low..=high).contains(&x));
        check("temperature", within(self.temperature, 0.0, 2.0), "in 0..=2")?;
        check("top_p", within(self.top_p, 0.0, 1.0), "in 0..=1")?;
        check("min_p", within(self.min_p, 0.0, 1.0), "in 0..=1")?;
        check("top_k", self.top_k.is_none_or(|k| k <= 1_000_000), "in -1..=1000000")?;
        check("presence_penalty", within(self.presence_penalty, -2.0, 2.0), "in -2..=2")?;
        check("frequency_penalty", within(self.frequency_penalty, -2.0, 2.0), "in -2..=2")?;
        check("repetition_penalty", within(self.repetition_penalty, 0.01, 100.0), "in 0.01..=100")?;
        check("repeat_penalty", within(self.repeat_penalty, 0.01, 100.0), "in 0.01..=100")?;
        check(
            "repeat_last_n",
            self.repeat_last_n.is_none_or(|n| (-1..=1_000_000).contains(&n)),
            "in -1..=1000000",
        )?;
        let most = max_choices.min(128);
        check("n", (1..=most).contains(&self.choices()), &format!("in 1..={most}"))?;
        let stops = self.stops();
        check("stop", stops.len() <= 16, "at most 16 texts")?;
        check("stop", stops.iter().all(|stop| !stop.is_empty()), "without empty texts")?;
        let short = stops.iter().all(|stop| stop.chars().nth(STOP).is_none());
        check("stop", short, &format!("texts of at most {STOP} characters"))?;
        for (id, &bias) in self.logit_bias.iter().flatten() {
            check("logit_bias", id.parse::<TokenId>().is_ok(), "an object whose names are token ids")?;
            check("logit_bias", (-100.0..=100.0).contains(&bias), "an object of numbers in -100..=100")?;
        }
        Ok(())
    }

    /// Number of choices.
    pub(crate) fn choices(&self) -> usize {
        self.n.unwrap_or(1) as usize
    }

    /// The stop strings.
    pub(crate) fn stops(&self) -> Vec<String> {
        self.stop.clone().map_or_else(Vec::new, OneOrMany::into_vec)
    }

    /// The limit on tokens, if the request has one, and the name of its field.
    pub(crate) fn limit(&self) -> (Option<usize>, &'static str) {
        let given = [
            (self.max_completion_tokens, "max_completion_tokens"),
            (self.max_tokens, "max_tokens"),
            (self.n_predict, "n_predict"),
        ];
        let first = given.into_iter().find_map(|(most, name)| Some((Some(most? as usize), name)));
        first.unwrap_or((None, "max_tokens"))
    }

    /// Whether the answer is streamed.
    pub(crate) fn stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether a streamed answer ends with the usage.
    pub(crate) fn include_usage(&self) -> bool {
        self.stream_options.and_then(|options| options.0.include_usage).unwrap_or(false)
    }

    /// Checks what depends on the model.
    ///
    /// # Errors
    /// 400 with the name of the field that is wrong.
    pub(crate) fn suits(&self, vocab_size: usize) -> Result<(), ApiError> {
        let biases = self.logit_bias.as_ref().map_or(0, BTreeMap::len);
        check(
            "logit_bias",
            biases <= vocab_size,
            &format!("at most {vocab_size} tokens, as many as there are"),
        )
    }

    /// The options of the samplers; that of choice `index` adds it to the seed.
    pub(crate) fn options(&self, seed: u64) -> SamplerOptions {
        let defaults = SamplerOptions::default();
        // In OpenAI's API, -100 means never.
        let bias = |bias: f64| if bias <= -100.0 { f32::NEG_INFINITY } else { bias as f32 };
        let or = |value: Option<f64>, default: f32| value.map_or(default, |value| value as f32);
        let biases = self.logit_bias.iter().flatten();
        SamplerOptions {
            temperature: or(self.temperature, defaults.temperature),
            top_k: self.top_k.map_or(defaults.top_k, |k| k as usize),
            top_p: or(self.top_p, defaults.top_p),
            min_p: or(self.min_p, defaults.min_p),
            repetition_penalty: or(
                self.repetition_penalty.or(self.repeat_penalty),
                defaults.repetition_penalty,
            ),
            presence_penalty: or(self.presence_penalty, defaults.presence_penalty),
            frequency_penalty: or(self.frequency_penalty, defaults.frequency_penalty),
            // -1 is longer than any context.
            repeat_last_n: self
                .repeat_last_n
                .map_or(defaults.repeat_last_n, |n| usize::try_from(n).unwrap_or(usize::MAX)),
            logit_bias: biases.filter_map(|(id, &by)| Some((id.parse().ok()?, bias(by)))).collect(),
            seed,
        }
    }
}
