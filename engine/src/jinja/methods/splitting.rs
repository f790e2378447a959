//! Methods of strings that split them.

use super::super::error::{Result, fail};
use super::super::text::Text;
use super::super::value::Value;
use super::strings::is_space;
use std::ops::Range;

/// `split` and `rsplit`, at whitespace if there is no separator.
///
/// # Errors
/// If the separator is empty.
pub(super) fn split(text: &Text, separator: Option<&Text>, most: usize, from_end: bool) -> Result<Value> {
    let str = text.as_str();
    let parts: Vec<Range<usize>> = match separator {
        Some(separator) if separator.as_str().is_empty() => return fail("empty separator"),
        Some(separator) => {
            let places: Vec<usize> = if from_end {
                let mut places: Vec<usize> =
                    str.rmatch_indices(separator.as_str()).take(most).map(|m| m.0).collect();
                places.reverse();
                places
            } else {
                str.match_indices(separator.as_str()).take(most).map(|m| m.0).collect()
            };
            let starts = [0].into_iter().chain(places.iter().map(|place| place + separator.len()));
            let ends = places.iter().copied().chain([str.len()]);
            starts.zip(ends).map(|(start, end)| start..end).collect()
        }
        None if from_end => {
            let mut parts = Vec::new();
            let mut rest = str.trim_end_matches(is_space);
            while !rest.is_empty() {
                let start = match rest.rfind(is_space) {
                    Some(at) if parts.len() < most => {
                        at + rest[at..].chars().next().map_or(1, char::len_utf8)
                    }
                    _ => 0,
                };
                parts.push(start..rest.len());
                rest = rest[..start].trim_end_matches(is_space);
            }
            parts.reverse();
            parts
        }
        None => {
            let mut parts = Vec::new();
            let mut at = str.len() - str.trim_start_matches(is_space).len();
            while at < str.len() {
                let rest = &str[at..];
                let length = if parts.len() < most { rest.find(is_space) } else { None };
                let length = length.unwrap_or(rest.trim_end_matches(is_space).len());
                parts.push(at..at + length);
                let after = &rest[length..];
                at += length + after.len() - after.trim_start_matches(is_space).len();
            }
            parts
        }
    };
    Ok(Value::list(parts.into_iter().map(|part| text.slice(part).into()).collect()))
}

/// `partition` and `rpartition`.
///
/// # Errors
/// If the separator is empty.
pub(super) fn partition(text: &Text, separator: &Text, from_end: bool) -> Result<Value> {
    if separator.as_str().is_empty() {
        return fail("empty separator");
    }
    let str = text.as_str();
    let found = if from_end { str.rfind(separator.as_str()) } else { str.find(separator.as_str()) };
    let none = || Value::own("");
    Ok(Value::tuple(match found {
        Some(at) => {
            let end = at + separator.len();
            vec![text.slice(0..at).into(), text.slice(at..end).into(), text.slice(end..str.len()).into()]
        }
        None if from_end => vec![none(), none(), text.clone().into()],
        None => vec![text.clone().into(), none(), none()],
    }))
}

/// `splitlines`.
pub(super) fn lines(text: &Text, keep_ends: bool) -> Value {
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
        out.push(text.slice(start..if keep_ends { next } else { end }).into());
        start = next;
    }
    Value::list(out)
}
