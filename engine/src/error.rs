//! The error of everything that runs a model.

use crate::TokenId;
use crate::format::FormatError;
use crate::tokenizer::TokenizerError;

/// Why a model cannot be opened or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file is not sound.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The model's tokenizer is not usable, or cannot split a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A stop string of no characters.
    #[error("a stop string is empty and would end every text: leave it out")]
    EmptyStop,
    /// A token that the model does not have.
    #[error("token {token} is not in the vocabulary of {vocab_size} tokens")]
    Token {
        /// The token.
        token: TokenId,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// Nothing to compute.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// More tokens than the session may hold.
    #[error(
        "{tokens} more tokens do not fit: {position} of {capacity} positions are taken; shorten the prompt or raise the context"
    )]
    ContextFull {
        /// Tokens to be added.
        tokens: usize,
        /// Positions taken.
        position: usize,
        /// Positions the session may hold.
        capacity: usize,
    },
    /// Sessions that cannot share a pass.
    #[error("the sessions of a batch differ in model or precision: batch those alike")]
    Mixed,
    /// A context that the model was not made for.
    #[error("a context of {requested} is outside 1..={max}, what the model was trained for")]
    Context {
        /// Wanted.
        requested: usize,
        /// The model's max_position_embeddings.
        max: usize,
    },
}
