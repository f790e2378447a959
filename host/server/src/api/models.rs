//! JSON of the small endpoints: models, health, tokens.

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
    /// Tokens of a prompt and its answer, at most; known once it is in memory.
    pub(crate) context_length: Option<usize>,
    /// Length of its file, if clients may download it from `/v1/models/{id}/file`.
    pub(crate) bytes: Option<u64>,
}

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, `loading` or `draining`.
    pub(crate) status: &'static str,
}

/// Text to tokenize.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TokenizeRequest {
    /// A name that `/v1/models` lists; without it, the first.
    pub(crate) model: Option<String>,
    pub(crate) content: String,
    /// Add the special tokens that the model expects around a text. Default false.
    pub(crate) add_special: Option<bool>,
    /// Special tokens written in the text become those tokens; otherwise they are text. Default true.
    pub(crate) parse_special: Option<bool>,
    /// Return the text of each token with its id. Default false.
    pub(crate) with_pieces: Option<bool>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenizedText {
    pub(crate) tokens: Tokens,
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Tokens {
    Ids(Vec<u32>),
    Spelled(Vec<SpelledToken>),
}

/// A token and its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpelledToken {
    pub(crate) id: u32,
    pub(crate) piece: Piece,
}

/// The text of a token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Piece {
    Text(String),
    /// Where they are only part of a character.
    Bytes(Vec<u8>),
}

/// Tokens to detokenize.
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
