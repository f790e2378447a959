//! Patterns of normalizers and pre-tokenizers: regular expressions whose time is bounded.
//!
//! A backtracking matcher can take a time that grows with the square of a text, or faster, within one call that nobody can
//! interrupt. So expressions are limited to what tokenizers use, and a match is sought in a short window of the text, which
//! grows while the match reaches its end. What a match depends on further ahead than that is not seen; the patterns of
//! real tokenizers look one character ahead.

use super::TokenizerError;
use super::bounds::{PATTERN_BYTES, PATTERN_ITEMS, WORD_BYTES, clip, within};
use super::limit::Meter;
use fancy_regex::{Expr, Regex, RegexBuilder};
use serde::Deserialize;
use std::ops::Range;

/// Bytes in which a match is sought at first; few in the tests, which thus meet every end of a window.
const WINDOW: usize = if cfg!(test) { 16 } else { 4096 };
/// Bytes at the end of a window without a match in which one may begin.
const OVERLAP: usize = if cfg!(test) { 8 } else { 1024 };
/// Ways that a match may be tried before it is given up.
const BACKTRACKS: usize = 100_000;

/// A pattern as written.
#[derive(Deserialize)]
pub(super) enum PatternFile {
    String(String),
    Regex(String),
}

/// A pattern that matches at least one character.
#[derive(Debug)]
pub(super) enum Pattern {
    /// The text itself.
    Text(String),
    /// A regular expression, and the fewest characters that it matches.
    Regex(Box<Regex>, usize),
}

impl Pattern {
    /// Checks and compiles a pattern; `items` counts those of all patterns.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub(super) fn new(file: PatternFile, items: &mut usize) -> Result<Self, String> {
        let (PatternFile::String(text) | PatternFile::Regex(text)) = &file;
        within("pattern's bytes", text.len(), PATTERN_BYTES)?;
        match file {
            PatternFile::String(text) if text.is_empty() => Err("a pattern of it is empty".into()),
            PatternFile::String(text) => Ok(Pattern::Text(text)),
            PatternFile::Regex(text) => {
                let wrong = |problem: &str| format!("its pattern {} {problem}", clip(&text));
                let unreadable = |error: fancy_regex::Error| {
                    wrong(&format!("cannot be read: {}", clip(&error.to_string())))
                };
                let tree = Expr::parse_tree(&text).map_err(unreadable)?;
                *items = items.saturating_add(size(&tree.expr));
                if *items > PATTERN_ITEMS {
                    return Err(wrong(&format!(
                        "brings the items of all patterns to {items}, the limit is {PATTERN_ITEMS}"
                    )));
                }
                check(&tree.expr).map_err(wrong)?;
                let least = least(&tree.expr);
                if least == 0 {
                    return Err(wrong("matches the empty text"));
                }
                let regex =
                    RegexBuilder::new(&text).backtrack_limit(BACKTRACKS).build().map_err(unreadable)?;
                Ok(Pattern::Regex(Box::new(regex), least))
            }
        }
    }

    /// The fewest bytes of a match.
    pub(super) fn least(&self) -> usize {
        match self {
            Pattern::Text(text) => text.len(),
            Pattern::Regex(_, least) => *least,
        }
    }

    /// The first match at or after `from`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] for a match that is too long or takes too many tries; those of the meter.
    pub(super) fn find(
        &self,
        text: &str,
        from: usize,
        meter: &Meter<'_>,
    ) -> Result<Option<Range<usize>>, TokenizerError> {
        meter.step()?;
        let regex = match self {
            Pattern::Text(pattern) => {
                return Ok(text[from..]
                    .find(pattern.as_str())
                    .map(|at| from + at..from + at + pattern.len()));
            }
            Pattern::Regex(regex, _) => regex,
        };
        let (mut start, mut window) = (from, WINDOW);
        loop {
            let end = text.floor_char_boundary(start.saturating_add(window));
            let found = regex.find_from_pos(&text[..end], start).map_err(|_| {
                TokenizerError::Encode(format!(
                    "a part of {} bytes takes its pattern too many tries",
                    end - start
                ))
            })?;
            match found {
                Some(found) if end == text.len() || is_decided(&text[..end], &found.range()) => {
                    return Ok(Some(found.range()));
                }
                Some(_) if window >= WORD_BYTES => return Err(too_long()),
                Some(_) => window *= 2,
                None if end == text.len() => return Ok(None),
                None => (start, window) = (text.floor_char_boundary(end - OVERLAP), WINDOW),
            }
            meter.look()?;
        }
    }
}

/// Whether more text after `window` would leave a match as it is. One that reaches the end could be longer, and so could one of
/// white space that only white space follows: `\s*[\r\n]+` goes on to the last line break.
fn is_decided(window: &str, found: &Range<usize>) -> bool {
    let rest = &window[found.end..];
    let ends_in_space = window[found.clone()].ends_with(char::is_whitespace);
    let is_open = rest.is_empty() || ends_in_space && rest.chars().all(char::is_whitespace);
    !is_open
}

/// Why a word is refused.
pub(super) fn too_long() -> TokenizerError {
    TokenizerError::Encode(format!("it has a word of more than {WORD_BYTES} bytes"))
}

/// Items of an expression, each as often as it is repeated.
fn size(expr: &Expr) -> usize {
    let sum = |children: &[Expr]| children.iter().map(size).fold(1, usize::saturating_add);
    match expr {
        Expr::Concat(children) | Expr::Alt(children) => sum(children),
        Expr::Group(child) | Expr::LookAround(child, _) | Expr::AtomicGroup(child) => size(child),
        Expr::Repeat { child, lo, hi, .. } => {
            let times = if *hi == usize::MAX { lo.saturating_add(1) } else { *hi };
            size(child).saturating_mul(times.max(1))
        }
        _ => 1,
    }
}

/// The fewest characters that an expression matches.
fn least(expr: &Expr) -> usize {
    match expr {
        Expr::Any { .. } => 1,
        Expr::Literal { val, .. } => val.chars().count(),
        Expr::Delegate { size, .. } => *size,
        Expr::Concat(children) => children.iter().map(least).fold(0, usize::saturating_add),
        Expr::Alt(children) => children.iter().map(least).min().unwrap_or(0),
        Expr::Group(child) | Expr::AtomicGroup(child) => least(child),
        Expr::Repeat { child, lo, .. } => least(child).saturating_mul(*lo),
        _ => 0,
    }
}

/// Refuses expressions that a backtracking matcher may take long for.
///
/// What is plain, without looking around, goes to an automaton, which reads each byte once. Where an alternative looks around,
/// its parts are tried one by one: so it may look at one character, at its beginning or end, and repeat one class without end.
fn check(expr: &Expr) -> Result<(), &'static str> {
    match expr {
        Expr::Alt(alternatives) => alternatives.iter().try_for_each(check),
        Expr::Group(child) => check(child),
        Expr::Concat(parts) => check_alternative(parts),
        single => check_alternative(std::slice::from_ref(single)),
    }
}

fn check_alternative(parts: &[Expr]) -> Result<(), &'static str> {
    if parts.iter().all(is_plain) {
        return Ok(());
    }
    let mut endless = 0;
    for (at, part) in parts.iter().enumerate() {
        match part {
            Expr::LookAround(child, _) if !is_character(child) => {
                return Err("looks around at more than one character");
            }
            Expr::LookAround(..) | Expr::Assertion(_) if at == 0 || at + 1 == parts.len() => {}
            Expr::LookAround(..) => return Err("looks around in the middle of an alternative"),
            Expr::AtomicGroup(child) if is_run(child) => {}
            Expr::Repeat { hi: usize::MAX, .. } if is_run(part) => endless += 1,
            part if is_plain(part) && !is_endless(part) => {}
            _ => return Err("looks around, refers back or is atomic in a way that is not supported"),
        }
    }
    if endless > 1 { Err("looks around in an alternative with several repetitions") } else { Ok(()) }
}

/// Whether an automaton can match it.
fn is_plain(expr: &Expr) -> bool {
    use fancy_regex::Assertion::{EndLine, EndText, StartLine, StartText};
    match expr {
        Expr::Empty | Expr::Any { .. } | Expr::Literal { .. } | Expr::Delegate { .. } => true,
        Expr::Assertion(assertion) => {
            matches!(assertion, StartText | EndText | StartLine { .. } | EndLine { .. })
        }
        Expr::Concat(children) | Expr::Alt(children) => children.iter().all(is_plain),
        Expr::Group(child) | Expr::Repeat { child, .. } => is_plain(child),
        _ => false,
    }
}

/// Whether it matches exactly one character.
fn is_character(expr: &Expr) -> bool {
    match expr {
        Expr::Any { .. } => true,
        Expr::Delegate { size, .. } => *size == 1,
        Expr::Literal { val, .. } => val.chars().count() == 1,
        Expr::Group(child) => is_character(child),
        Expr::Alt(children) => children.iter().all(is_character),
        _ => false,
    }
}

/// Whether it is a character, perhaps repeated.
fn is_run(expr: &Expr) -> bool {
    match expr {
        Expr::Repeat { child, .. } => !matches!(**child, Expr::Alt(_)) && is_character(child),
        expr => is_character(expr),
    }
}

fn is_endless(expr: &Expr) -> bool {
    match expr {
        Expr::Concat(children) | Expr::Alt(children) => children.iter().any(is_endless),
        Expr::Group(child) => is_endless(child),
        Expr::Repeat { child, hi, .. } => *hi == usize::MAX || is_endless(child),
        _ => false,
    }
}
