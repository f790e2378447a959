//! What a request may ask of grammars.
//!
//! llguidance limits its work where it counts it. It does not count references written out, intersections, patterns and
//! `multipleOf`, and it recurses without a limit. The limits here close that gap: they hold before it sees a schema.

use super::GrammarError;

/// Schemas inside of schemas, at most, with every definition that is referred to counted once: a bound on recursion, since
/// each definition is entered once.
pub(super) const LEVELS: usize = 500;

/// Stack of the thread that compiles grammars: five times what [`LEVELS`] need in a build without optimization, and more of
/// what they need with optimization or AddressSanitizer (scripts/stacks measures it, docs/security.md has the figures). Tests
/// compile every kind of nesting at the limit, on a quarter. What is not reached takes no memory.
pub(super) const STACK: usize = 64 << 20;

/// Size of all schemas of a request, after llguidance has written out references and intersections, in the units of
/// [`super::expansion`]. A grammar at the limit takes some tenths of a second and up to 60 MB.
pub(super) const SIZE: usize = 80_000;

/// What [`SIZE`] limits, in errors.
pub(super) const SIZES: &str = "parts in the schemas, references written out";

/// Work of writing out, in the same units: what is copied to be intersected and dropped again.
pub(super) const WORK: usize = 10 * SIZE;

/// Bytes of a pattern.
pub(super) const PATTERN: usize = 1000;

/// Patterns and formats that one text must match together.
pub(super) const PATTERNS_AT_ONCE: usize = 4;

/// The least common multiple of the `multipleOf` of a number, times the power of ten that makes it whole. The automaton has
/// as many states.
pub(super) const MULTIPLE: u64 = 10_000;

/// Decimal places of `multipleOf`.
pub(super) const PLACES: u32 = 6;

/// Decimal digits of `minimum`, `maximum` and their exclusive forms, when written out.
pub(super) const DIGITS: usize = 64;

/// `minLength`, `maxItems` and their like.
pub(super) const COUNT: u64 = i32::MAX as u64;

/// Properties of an object, with those that are only required.
pub(super) const PROPERTIES: usize = 1000;

/// Properties that may be absent, in an object with `minProperties` or `maxProperties`.
pub(super) const COUNTED_PROPERTIES: usize = 64;

/// States of the automaton that reads the words of a grammar, of all answers of a request together: some 30 MB.
pub(super) const STATES: usize = 50_000;

/// Work on that automaton for one token, in llguidance's unit of about 0.1 us.
pub(super) const STEP_FUEL: u64 = 200_000;

/// The same for all tokens of a request's answers.
pub(super) const FUEL: usize = 4_000_000;

/// Symbols of a grammar. llguidance counts them in 16 bits, and panics beyond.
pub(super) const SYMBOLS: usize = 60_000;

/// A schema is too large: `what` is at most `most`.
pub(super) fn exceeded(what: &'static str, most: impl TryInto<u64>) -> GrammarError {
    GrammarError::TooLarge { what, most: most.try_into().unwrap_or(u64::MAX) }
}

/// Refuses what is more than `most`.
pub(super) fn check(what: &'static str, found: usize, most: usize) -> Result<(), GrammarError> {
    if found <= most { Ok(()) } else { Err(exceeded(what, most)) }
}
