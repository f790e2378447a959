//! The state of an answer in its grammar.

use super::limits::FUEL;
use edgellm::TokenId;
use edgellm::generate::{self, ConstraintError};
use llguidance::Matcher;
use std::sync::Arc;

/// The state of one sequence in its grammar. A clone costs nothing until it is used: all answers of a request share the
/// compiled grammar and the automaton of its words, which grows with their text; each has a parser of its own.
pub(crate) struct Constraint {
    compiled: Arc<Matcher>,
    /// None before the first token.
    own: Option<Matcher>,
    /// Work on the automaton so far.
    spent: usize,
}

/// A grammar cannot go on. What llguidance says of it, which quotes schemas and texts, is for nobody.
#[derive(Debug, thiserror::Error)]
#[error("the grammar allows no further token, or is too complex to follow")]
struct Stuck;

impl Constraint {
    /// A grammar that has no token yet.
    pub(super) fn new(compiled: Matcher) -> Self {
        Constraint { compiled: Arc::new(compiled), own: None, spent: 0 }
    }

    fn own(&mut self) -> &mut Matcher {
        self.own.get_or_insert_with(|| Matcher::clone(&self.compiled))
    }
}

impl generate::Constraint for Constraint {
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ConstraintError> {
        let allowed = self.own().compute_mask_or_eos().map_err(|_| Stuck)?;
        self.spent += self.own().last_step_stats().map_or(0, |stats| stats.lexer_cost as usize);
        if self.spent > FUEL {
            return Err(Stuck.into());
        }
        for (id, logit) in (0..allowed.len()).zip(logits) {
            if !allowed.is_allowed(id as TokenId) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn accept(&mut self, token: TokenId) -> Result<(), ConstraintError> {
        Ok(self.own().consume_token(token).map_err(|_| Stuck)?)
    }

    fn is_complete(&self) -> bool {
        self.own.as_ref().is_some_and(Matcher::is_stopped)
    }
}

impl Clone for Constraint {
    fn clone(&self) -> Self {
        Constraint { compiled: Arc::clone(&self.compiled), own: self.own.clone(), spent: self.spent }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constraint")
    }
}
