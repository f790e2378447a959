//! The small endpoints on the wire: models, health, tokens.

use super::number::Token;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ModelCard>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelCard {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) owned_by: &'static str,
    /// Whether it is in memory.
    pub(crate) loaded: bool,
    /// Most tokens of a prompt and its answer, once it is in memory.
    pub(crate) context_length: Option<usize>,
    /// Length of its file, where the server lets clients download it from `/v1/models/{id}/file`.
    pub(crate) bytes: Option<u64>,
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, `loading` or `draining`.
    pub(crate) status: &'static str,
}

/// Text to turn into tokens.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TokenizeRequest {
    /// A name that `/v1/models` lists; without it, the first.
    pub(crate) model: Option<String>,
    pub(crate) content: String,
    /// Add what the model wants around every text. Default false.
    pub(crate) add_special: Option<bool>,
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<u32>,
}

/// Tokens to turn into text.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct DetokenizeRequest {
    /// A name that `/v1/models` lists; without it, the first.
    pub(crate) model: Option<String>,
    pub(crate) tokens: Vec<Token>,
}

/// Text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Text {
    pub(crate) content: String,
}
