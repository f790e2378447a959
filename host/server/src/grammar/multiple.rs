//! `multipleOf`: the automaton that recognizes multiples has a state for every remainder.

use super::GrammarError;
use super::limits::{MULTIPLE, PLACES, exceeded};
use serde_json::Value;

/// `whole` divided by 10 to the power of `places`, the latter as small as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiple {
    whole: u64,
    places: u32,
}

impl Multiple {
    /// What llguidance takes `multipleOf` for.
    ///
    /// # Errors
    /// If it has too many states.
    pub(super) fn of(number: &Value) -> Result<Self, GrammarError> {
        let mut value = number.as_f64().unwrap_or(f64::INFINITY).abs();
        let mut places = 0;
        while value.fract() != 0.0 {
            value *= 10.0;
            places += 1;
            if places > PLACES {
                return Err(exceeded("decimal places in multipleOf", PLACES));
            }
        }
        if value > MULTIPLE as f64 {
            return Err(too_many());
        }
        Multiple { whole: value as u64, places }.checked()
    }

    /// The least common multiple.
    ///
    /// # Errors
    /// If it has too many states.
    pub(super) fn common(&self, other: &Self) -> Result<Self, GrammarError> {
        let places = self.places.max(other.places);
        let scaled = |multiple: &Self| multiple.whole.saturating_mul(10u64.pow(places - multiple.places));
        let (one, other) = (scaled(self), scaled(other));
        // llguidance multiplies in 32 bits.
        let product = one.saturating_mul(other);
        if u32::try_from(product).is_err() {
            return Err(too_many());
        }
        Multiple { whole: product / gcd(one, other), places }.checked()
    }

    /// States of its automaton.
    pub(super) fn states(&self) -> usize {
        usize::try_from(self.whole).unwrap_or(usize::MAX)
    }

    fn checked(mut self) -> Result<Self, GrammarError> {
        while self.places > 0 && self.whole.is_multiple_of(10) {
            self.whole /= 10;
            self.places -= 1;
        }
        if (1..=MULTIPLE).contains(&self.whole) { Ok(self) } else { Err(too_many()) }
    }
}

fn too_many() -> GrammarError {
    exceeded("in multipleOf, or the common multiple of several, decimal point left out", MULTIPLE)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn common_multiples() {
        let multiple = |number: f64| Multiple::of(&json!(number));
        let common = |a: f64, b: f64| multiple(a).unwrap().common(&multiple(b).unwrap());
        assert_eq!(multiple(0.25), Ok(Multiple { whole: 25, places: 2 }));
        assert_eq!(multiple(100.0).unwrap().states(), 100);
        assert_eq!(common(4.0, 6.0), multiple(12.0));
        assert_eq!(common(0.5, 0.75), multiple(1.5));
        assert_eq!(common(100.0, 99.0), multiple(9900.0));
        assert!(common(101.0, 100.0).is_err());
        for wrong in [10_001.0, 99_999_989.0, 1e300, 1e-7, 1e-300, 0.1 + 0.2] {
            assert!(multiple(wrong).is_err(), "{wrong}");
        }
    }
}
