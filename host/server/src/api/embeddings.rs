//! JSON of `/v1/embeddings`.

use super::number::count;
use super::prompts::Prompts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Texts of a request, at most: as many as OpenAI allows.
pub(crate) const MAX_INPUTS: usize = 2048;

/// Texts to embed.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingRequest {
    /// A name that `/v1/models` lists; without it, the first.
    pub(crate) model: Option<String>,
    /// One or several texts, at most 2048, or one or several lists of tokens.
    pub(crate) input: Prompts,
    /// Encoding of the vectors: numbers, or little-endian 32-bit floats in base64. Default `float`.
    pub(crate) encoding_format: Option<Encoding>,
    /// Must be the size of the model's vectors.
    #[serde(default, deserialize_with = "count")]
    pub(crate) dimensions: Option<u32>,
}

/// Encoding of a vector.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    #[default]
    Float,
    Base64,
}

/// Vectors, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embeddings {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<Embedding>,
    pub(crate) model: String,
    pub(crate) usage: EmbeddingUsage,
}

/// The vector of a text, of length 1.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    pub(crate) object: &'static str,
    pub(crate) index: usize,
    pub(crate) embedding: Vector,
}

/// A vector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// Tokens that the request used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    pub(crate) prompt_tokens: usize,
    pub(crate) total_tokens: usize,
}
