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
    /// What rounding its weights cost, if its file says so; known once it is in memory.
    pub(crate) quality: Option<Quality>,
}

/// What rounding the weights of a model cost, measured on a text when it was converted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quality {
    /// Name of the text.
    pub(crate) text: String,
    /// Tokens scored.
    pub(crate) tokens: u64,
    /// Perplexity of the source.
    pub(crate) source_perplexity: f64,
    /// Perplexity of the model.
    pub(crate) perplexity: f64,
    /// Mean Kullback-Leibler divergence of the model's distributions from the source's, in nats.
    pub(crate) kl_divergence: f64,
    /// Share of positions with the source's most likely token.
    pub(crate) same_top_token: f64,
    /// What the weights were rounded by.
    pub(crate) calibration: Recipe,
}

/// What weights were rounded by.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recipe {
    /// `gptq`, `weights`, `imatrix` or `none`.
    pub(crate) method: String,
    /// Name of the calibration text or importance matrix.
    pub(crate) data: Option<String>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub(crate) sha256: Option<String>,
    /// Tokens that the model was run on.
    pub(crate) tokens: Option<u64>,
}

impl From<edgellm::format::Quality> for Quality {
    fn from(quality: edgellm::format::Quality) -> Self {
        let edgellm::format::Recipe { method, data, sha256, tokens } = quality.calibration;
        Quality {
            text: quality.text,
            tokens: quality.tokens,
            source_perplexity: quality.source_perplexity,
            perplexity: quality.perplexity,
            kl_divergence: quality.kl_divergence,
            same_top_token: quality.same_top_token,
            calibration: Recipe { method, data, sha256, tokens },
        }
    }
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
