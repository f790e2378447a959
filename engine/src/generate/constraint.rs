//! Constraints on the tokens of an answer, such as a grammar.

use crate::TokenId;
use std::fmt;

/// Why a constraint cannot go on.
pub type ConstraintError = Box<dyn std::error::Error + Send + Sync>;

/// Restricts the tokens that a [`Decoder`](super::Decoder) may choose.
pub trait Constraint: fmt::Debug + Send {
    /// Sets the logits of all tokens that may not come next to negative infinity.
    ///
    /// # Errors
    /// If that cannot be decided.
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ConstraintError>;

    /// Advances past `token`, which was chosen.
    ///
    /// # Errors
    /// If the constraint does not allow it.
    fn accept(&mut self, token: TokenId) -> Result<(), ConstraintError>;

    /// Whether the answer is complete, so that no token may follow.
    fn is_complete(&self) -> bool;
}
