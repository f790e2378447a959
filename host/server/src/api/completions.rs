//! JSON of `/v1/completions`.

use super::chat::ResponseFormat;
use super::number::count;
use super::object::{flattened, tagged};
use super::prompts::Prompts;
use super::sampling::Sampling;
use super::usage::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Texts to continue. Fields that are not listed are accepted and have no effect.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CompletionRequest {
    /// A name that `/v1/models` lists; without it, the first.
    pub(crate) model: Option<String>,
    /// One or several texts, or one or several lists of tokens.
    pub(crate) prompt: Prompts,
    /// Begin the answer with the text of the prompt.
    pub(crate) echo: Option<bool>,
    /// Return the log probability of every generated token, and of this many of the most likely ones at its position; with
    /// `echo`, of the prompt's tokens too.
    #[serde(default, deserialize_with = "count")]
    #[schema(minimum = 0, maximum = 20)]
    pub(crate) logprobs: Option<u32>,
    /// Constraint on the answer.
    #[serde(default, deserialize_with = "tagged")]
    pub(crate) response_format: Option<ResponseFormat>,
    /// JSON schema that the answer follows, as in llama.cpp's server.
    #[schema(value_type = Option<Object>)]
    pub(crate) json_schema: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The body of `/v1/completions`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CompletionBody {
    #[serde(flatten, deserialize_with = "flattened")]
    pub(crate) completion: CompletionRequest,
    #[serde(flatten, deserialize_with = "flattened")]
    pub(crate) sampling: Sampling,
}

/// Continuations; also the pieces of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Completion {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

/// A continuation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionChoice {
    pub(crate) index: usize,
    pub(crate) text: String,
    pub(crate) logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`; null in all pieces of a stream except the last.
    pub(crate) finish_reason: Option<&'static str>,
}

/// Log probabilities in the format of this endpoint.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct CompletionLogprobs {
    pub(crate) tokens: Vec<String>,
    /// Null for the first token of a prompt.
    pub(crate) token_logprobs: Vec<Option<f32>>,
    pub(crate) top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each token's text begins in the answer, in characters.
    pub(crate) text_offset: Vec<usize>,
}
