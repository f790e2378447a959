//! Methods of strings that split them.

use super::super::error::{Result, fail};
use super::super::fuel::Fuel;
use super::super::text::Text;
use super::super::value::Value;
use super::strings::is_space;
use std::ops::Range;

/// `split` and `rsplit`, at whitespace if there is no separator.
///
/// # Errors
/// If the separator is empty.
pub(super) fn split(
    fuel: &Fuel,
    text: &Text,
    separator: Option<&Text>,
    most: usize,
    from_end: bool,
) -> Result<Value> {
    let str = text.as_str();
    let mut parts: Vec<Value> = Vec::new();
    let part = |range: Range<usize>| text.slice(fuel, range).map(Value::Str);
    match separator {
        Some(separator) if separator.as_str().is_empty() => return fail("empty separator"),
        Some(separator) if from_end => {
            let mut end = str.len();
            for (at, _) in str.rmatch_indices(separator.as_str()).take(most) {
                parts.push(part(at + separator.len()..end)?);
                end = at;
            }
            parts.push(part(0..end)?);
        }
        Some(separator) => {
            let mut start = 0;
            for (at, _) in str.match_indices(separator.as_str()).take(most) {
                parts.push(part(start..at)?);
                start = at + separator.len();
            }
            parts.push(part(start..str.len())?);
        }
        None if from_end => {
            let mut rest = str.trim_end_matches(is_space);
            while !rest.is_empty() {
                let space = if parts.len() < most { rest.rfind(is_space) } else { None };
                let start = space.map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
                parts.push(part(start..rest.len())?);
                rest = rest[..start].trim_end_matches(is_space);
            }
        }
        None => {
            let mut at = str.len() - str.trim_start_matches(is_space).len();
            while at < str.len() {
                let rest = &str[at..];
                let space = if parts.len() < most { rest.find(is_space) } else { None };
                let length = space.unwrap_or_else(|| rest.trim_end_matches(is_space).len());
                parts.push(part(at..at + length)?);
                let after = &rest[length..];
                at += length + after.len() - after.trim_start_matches(is_space).len();
            }
        }
    }
    if from_end {
        parts.reverse();
    }
    fuel.list(parts)
}

/// `partition` and `rpartition`.
///
/// # Errors
/// If the separator is empty.
pub(super) fn partition(fuel: &Fuel, text: &Text, separator: &Text, from_end: bool) -> Result<Value> {
    if separator.as_str().is_empty() {
        return fail("empty separator");
    }
    let str = text.as_str();
    let found = if from_end { str.rfind(separator.as_str()) } else { str.find(separator.as_str()) };
    let none = || Value::own("");
    fuel.tuple(match found {
        Some(at) => {
            let end = at + separator.len();
            [0..at, at..end, end..str.len()]
                .into_iter()
                .map(|part| text.slice(fuel, part).map(Value::Str))
                .collect::<Result<_>>()?
        }
        None if from_end => vec![none(), none(), text.clone().into()],
        None => vec![text.clone().into(), none(), none()],
    })
}

/// `splitlines`.
///
/// # Errors
/// If there is no fuel or memory for the lines.
pub(super) fn lines(fuel: &Fuel, text: &Text, keep_ends: bool) -> Result<Value> {
    let str = text.as_str();
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let (mut out, mut start) = (Vec::new(), 0);
    while start < str.len() {
        let end = str[start..].find(is_end).map_or(str.len(), |length| start + length);
        let next = match str[end..].chars().next() {
            Some('\r') if str[end + 1..].starts_with('\n') => end + 2,
            Some(c) => end + c.len_utf8(),
            None => end,
        };
        out.push(text.slice(fuel, start..if keep_ends { next } else { end })?.into());
        start = next;
    }
    fuel.list(out)
}
