//! The error of opening and running a model.

use crate::TokenId;
use crate::format::FormatError;
use crate::generate::ConstraintError;
use crate::tokenizer::TokenizerError;

/// Why a model cannot be opened or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file is invalid.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The model's tokenizer is not usable, or cannot tokenize a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// An empty stop string.
    #[error("a stop string is empty and would end every text: remove it")]
    EmptyStop,
    /// A token that is not in the model's vocabulary.
    #[error("token {token} is not in the vocabulary of {vocab_size} tokens")]
    Token {
        /// The token.
        token: TokenId,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// No tokens to process.
    #[error("the prompt is empty: it needs at least one token")]
    EmptyPrompt,
    /// More tokens than the session can hold.
    #[error(
        "{tokens} more tokens do not fit: {position} of {capacity} positions are in use; shorten the prompt or raise the context"
    )]
    ContextFull {
        /// Tokens to add.
        tokens: usize,
        /// Positions in use.
        position: usize,
        /// Positions that the session can hold.
        capacity: usize,
    },
    /// More rows of logits than there are tokens.
    #[error(
        "logits after {wanted} tokens are wanted, but only {tokens} are processed: want at most that many"
    )]
    Wanted {
        /// Rows of logits wanted.
        wanted: usize,
        /// Tokens to be processed.
        tokens: usize,
    },
    /// A constraint failed to compute the allowed tokens, or does not allow the chosen one.
    #[error(transparent)]
    Constraint(ConstraintError),
    /// Sessions that cannot share a forward pass.
    #[error("the sessions of a batch differ in model or precision: batch only sessions with the same")]
    Mixed,
    /// Weights of a model that others use.
    #[error("the model has other clones or sessions, whose weights would change too: drop them first")]
    Shared,
    /// A context longer than the model supports.
    #[error("a context of {requested} is outside 1..={max}, the range that the model was trained for")]
    Context {
        /// The requested context.
        requested: usize,
        /// The model's max_position_embeddings.
        max: usize,
    },
}
