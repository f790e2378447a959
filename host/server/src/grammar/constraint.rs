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

#[cfg(test)]
mod tests {
    use super::super::{Grammars, Shape};
    use super::*;
    use edgellm::Model;
    use edgellm::generate::Constraint as _;
    use edgellm::testing::{recipes, seeded_model};
    use serde_json::{Value, json};

    fn compiled(schema: Value) -> Constraint {
        let model = Model::from_bytes(seeded_model(recipes()[0], 1).unwrap()).unwrap();
        let shape = Shape { json: Some(schema), ..Shape::default() };
        let mut constraint = Grammars::new(&model).unwrap().constraint(&shape).unwrap().unwrap();
        constraint.accept(b'"'.into()).unwrap();
        constraint
    }

    /// Follows a random text of the letters a and c to the end of a limit: what llguidance says then, and the work so far.
    fn explode(schema: Value) -> (Option<String>, usize) {
        let mut constraint = compiled(schema);
        let mut random = 1u32;
        for _ in 0..100_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let byte = if random >> 31 == 0 { b'a' } else { b'c' };
            if constraint.mask(&mut vec![0.0; 256]).and_then(|()| constraint.accept(byte.into())).is_err() {
                return (constraint.own().get_error(), constraint.spent);
            }
        }
        panic!("it has no limit");
    }

    #[test]
    fn each_limit_holds_without_the_others() {
        let (error, spent) = explode(json!({"type": "string", "pattern": "a.{14}b"}));
        assert!(error.unwrap().contains("too many states: 50000"));
        assert!(spent < FUEL, "{spent}");
        let (error, spent) = explode(json!({"type": "string", "pattern": "a.{1000}b"}));
        assert_eq!(error, None);
        assert!((4_000_000..4_200_000).contains(&spent), "{spent}");
        // Whether anything can follow a y takes a walk through the product of four cycles.
        let cycle = |length: usize| json!({"pattern": format!("^(z|y(x{{{length}}})+)$")});
        let (error, spent) =
            explode(json!({"type": "string", "allOf": [cycle(7), cycle(11), cycle(13), cycle(17)]}));
        assert!(error.unwrap().contains("too many expressions"));
        assert!(spent < FUEL, "{spent}");
    }

    #[test]
    fn errors_do_not_write_out_the_grammar() {
        let mut constraint = compiled(json!({"type": "string", "enum": ["ab"]}));
        assert!(constraint.accept(b'b'.into()).is_err());
        let error = constraint.own().get_error().unwrap();
        assert!(!error.contains("<state>") && !error.contains("<grammar>"), "{error}");
    }
}
