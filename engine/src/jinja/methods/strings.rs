//! Methods of strings.

use super::super::arguments::{Arguments, integer, required, string};
use super::super::ast::Name;
use super::super::error::{Result, fail};
use super::super::format;
use super::super::fuel::{BYTES_PER_UNIT, Fuel};
use super::super::repr::is_printable;
use super::super::text::{Text, TextBuilder};
use super::super::value::Value;
use super::super::{access, sequences};
use super::splitting;

pub(super) const METHODS: [&str; 44] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// What Python takes for whitespace.
pub(in super::super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text.method(...)`.
///
/// # Errors
/// If there is no such method, or not with these arguments.
pub(super) fn call(fuel: &Fuel, text: &Text, method: &Name, arguments: Arguments) -> Result<Value> {
    let str = text.as_str();
    match &**method {
        "split" | "rsplit" | "partition" | "rpartition" | "replace" | "removeprefix" | "removesuffix"
        | "strip" | "lstrip" | "rstrip" => fuel.burn_bytes(text.len())?,
        _ => fuel.burn_characters(text.len())?,
    }
    match &**method {
        "format" => return Ok(format::format(fuel, text, &arguments)?.into()),
        "format_map" => {
            let map = arguments.only(method, "mapping")?;
            let mut named = Arguments::default();
            if let Value::Map(map) = &map {
                named.extend(fuel, map)?;
            }
            return Ok(format::format(fuel, text, &named)?.into());
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = arguments.bind(method, ["chars"])?;
            let chars = optional_string(chars, method)?;
            let (start, end) = (&**method != "rstrip", &**method != "lstrip");
            return Ok(stripped(fuel, text, chars.as_ref(), start, end)?.into());
        }
        "split" | "rsplit" => {
            let [separator, most] = arguments.bind(method, ["sep", "maxsplit"])?;
            let separator = optional_string(separator, method)?;
            let most = usize::try_from(integer(most, -1)?).unwrap_or(usize::MAX);
            return splitting::split(fuel, text, separator.as_ref(), most, &**method == "rsplit");
        }
        "partition" | "rpartition" => {
            let separator = string(arguments.only(method, "sep")?, method)?;
            return splitting::partition(fuel, text, &separator, &**method == "rpartition");
        }
        "splitlines" => {
            let [keep] = arguments.bind(method, ["keepends"])?;
            return splitting::lines(fuel, text, keep.is_some_and(|keep| keep.is_true()));
        }
        "replace" => {
            let [old, new, count] = arguments.bind(method, ["old", "new", "count"])?;
            let old = string(required(old, method, "old")?, method)?;
            let new = string(required(new, method, "new")?, method)?;
            let count = usize::try_from(integer(count, -1)?).unwrap_or(usize::MAX);
            return Ok(replaced(fuel, text, &old, &new, count)?.into());
        }
        "join" => return sequences::join(fuel, &arguments.only(method, "iterable")?, text, true),
        "removeprefix" => {
            let prefix = string(arguments.only(method, "prefix")?, method)?;
            let start = if str.starts_with(prefix.as_str()) { prefix.len() } else { 0 };
            return Ok(text.slice(fuel, start..text.len())?.into());
        }
        "removesuffix" => {
            let suffix = string(arguments.only(method, "suffix")?, method)?;
            let end = text.len() - if str.ends_with(suffix.as_str()) { suffix.len() } else { 0 };
            return Ok(text.slice(fuel, 0..end)?.into());
        }
        "startswith" | "endswith" => return affix(fuel, text, method, arguments),
        "find" | "rfind" | "index" | "rindex" | "count" => return search(fuel, text, method, arguments),
        "center" | "ljust" | "rjust" => {
            let [width, fill] = arguments.bind(method, ["width", "fillchar"])?;
            let width = usize::try_from(integer(width, 0)?).unwrap_or(0);
            let fill = optional_string(fill, method)?.unwrap_or_else(|| Text::own(" "));
            return Ok(justified(fuel, text, method, width, &fill)?.into());
        }
        "zfill" => {
            let width = integer(Some(arguments.only(method, "width")?), 0)?;
            let sign = usize::from(str.starts_with(['+', '-']));
            let width = usize::try_from(width).unwrap_or(0).saturating_sub(sign);
            let digits = text.slice(fuel, sign..str.len())?;
            let digits = justified(fuel, &digits, "rjust", width, &Text::own("0"))?;
            let mut out = TextBuilder::new(fuel);
            out.push_slice(text, 0..sign);
            out.push(&digits);
            return Ok(out.finish()?.into());
        }
        "expandtabs" => {
            let [size] = arguments.bind(method, ["tabsize"])?;
            let size = usize::try_from(integer(size, 8)?).unwrap_or(0).min(MAX_TAB);
            return expanded(fuel, text, size);
        }
        _ => {}
    }
    let [] = arguments.bind(method, [])?;
    let all = |test: fn(char) -> bool| !str.is_empty() && str.chars().all(test);
    // Cased characters: at least one, and all of one kind.
    let cased =
        |test: fn(char) -> bool, other: fn(char) -> bool| str.chars().any(test) && !str.chars().any(other);
    Ok(match &**method {
        "upper" => text.map(fuel, |c, out| out.extend(c.to_uppercase()))?.into(),
        "lower" | "casefold" => text.map(fuel, |c, out| out.extend(c.to_lowercase()))?.into(),
        "capitalize" => capitalized(fuel, text)?.into(),
        "title" => titled(fuel, text)?.into(),
        "swapcase" => {
            let swap = |c: char, out: &mut String| {
                if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
            };
            text.map(fuel, swap)?.into()
        }
        "isalnum" => all(char::is_alphanumeric).into(),
        "isalpha" => all(char::is_alphabetic).into(),
        "isascii" => str.is_ascii().into(),
        "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric).into(),
        "isidentifier" => {
            let head = |c: char| c == '_' || c.is_alphabetic();
            (str.starts_with(head) && str.chars().all(|c| head(c) || c.is_alphanumeric())).into()
        }
        "islower" => cased(char::is_lowercase, char::is_uppercase).into(),
        "isupper" => cased(char::is_uppercase, char::is_lowercase).into(),
        "isprintable" => str.chars().all(is_printable).into(),
        "isspace" => all(is_space).into(),
        "istitle" => (str.chars().any(char::is_alphabetic) && titled(fuel, text)?.as_str() == str).into(),
        _ => return fail(format!("\"str\" has no method {method}")),
    })
}

fn optional_string(value: Option<Value>, method: &str) -> Result<Option<Text>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => string(value, method).map(Some),
    }
}

/// Without the characters of `chars`, or whitespace, at its start and end.
///
/// # Errors
/// If there is no fuel or memory for it.
pub(in super::super) fn stripped(
    fuel: &Fuel,
    text: &Text,
    chars: Option<&Text>,
    start: bool,
    end: bool,
) -> Result<Text> {
    // Each character is looked for among all of them.
    if let Some(chars) = chars {
        fuel.burn_characters((1 + chars.len() / BYTES_PER_UNIT).saturating_mul(text.len()))?;
    }
    let unwanted = |c: char| match chars {
        Some(chars) => chars.as_str().contains(c),
        None => is_space(c),
    };
    let str = text.as_str();
    let from = if start { str.len() - str.trim_start_matches(unwanted).len() } else { 0 };
    let to = if end { str[from..].trim_end_matches(unwanted).len() + from } else { str.len() };
    text.slice(fuel, from..to)
}

/// The first `count` occurrences of `old` replaced.
pub(in super::super) fn replaced(
    fuel: &Fuel,
    text: &Text,
    old: &Text,
    new: &Text,
    count: usize,
) -> Result<Text> {
    fuel.burn_bytes(text.len() + old.len())?;
    let mut out = TextBuilder::new(fuel);
    let mut at = 0;
    for (start, matched) in text.as_str().match_indices(old.as_str()).take(count) {
        out.push_slice(text, at..start);
        out.push(new);
        out.check()?;
        at = start + matched.len();
    }
    out.push_slice(text, at..text.len());
    out.finish()
}

fn affix(fuel: &Fuel, text: &Text, method: &Name, arguments: Arguments) -> Result<Value> {
    let [affix, start, end] = arguments.bind(method, ["affix", "start", "end"])?;
    let affix = required(affix, method, "affix")?;
    let part = access::slice(
        fuel,
        &Value::Str(text.clone()),
        [&start.unwrap_or(Value::None), &end.unwrap_or(Value::None), &Value::None],
    )?;
    let Value::Str(part) = part else { return Ok(false.into()) };
    let alternatives = match affix {
        Value::Tuple(items) => items.to_vec(),
        one => vec![one],
    };
    for alternative in alternatives {
        let alternative = string(alternative, method)?;
        fuel.burn_bytes(alternative.len())?;
        let (part, alternative) = (part.as_str(), alternative.as_str());
        if if &**method == "startswith" { part.starts_with(alternative) } else { part.ends_with(alternative) }
        {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn search(fuel: &Fuel, text: &Text, method: &Name, arguments: Arguments) -> Result<Value> {
    let [part, start, end] = arguments.bind(method, ["sub", "start", "end"])?;
    let part = string(required(part, method, "sub")?, method)?;
    fuel.burn_bytes(part.len())?;
    let str = text.as_str();
    let length = str.chars().count() as i128;
    let place = |value: Option<Value>, default: i128| -> Result<usize> {
        let place = match value {
            None | Some(Value::None) => default,
            value => integer(value, default)?,
        };
        let place = if place < 0 { place.saturating_add(length) } else { place }.clamp(0, length) as usize;
        Ok(str.char_indices().nth(place).map_or(str.len(), |(at, _)| at))
    };
    let (start, end) = (place(start, 0)?, place(end, length)?);
    let range = &str[start.min(end)..end];
    let part = part.as_str();
    if &**method == "count" {
        let count = if part.is_empty() { range.chars().count() + 1 } else { range.matches(part).count() };
        return Ok(count.into());
    }
    let found = if method.starts_with('r') { range.rfind(part) } else { range.find(part) };
    match found {
        Some(at) => Ok(str[..start + at].chars().count().into()),
        None if method.ends_with("find") => Ok(Value::Int(-1)),
        None => fail("substring not found"),
    }
}

/// Widest text that is filled up, and widest tab.
const MAX_WIDTH: usize = 10_000;
const MAX_TAB: usize = 1000;

pub(in super::super) fn justified(
    fuel: &Fuel,
    text: &Text,
    method: &str,
    width: usize,
    fill: &Text,
) -> Result<Text> {
    if fill.as_str().chars().count() != 1 {
        return fail(format!("{method} fills up with one character"));
    }
    if width > MAX_WIDTH {
        return fail(format!("{method} is wider than {MAX_WIDTH}"));
    }
    // Long texts are wide enough.
    let missing = width.saturating_sub(text.as_str().chars().take(MAX_WIDTH).count());
    let left = match method {
        "rjust" => missing,
        // As Python rounds.
        "center" => missing / 2 + (missing & width & 1),
        _ => 0,
    };
    let mut out = TextBuilder::new(fuel);
    (0..left).for_each(|_| out.push(fill));
    out.push(text);
    (0..missing - left).for_each(|_| out.push(fill));
    out.finish()
}

fn expanded(fuel: &Fuel, text: &Text, size: usize) -> Result<Value> {
    let mut column = 0;
    let expand = |c: char, out: &mut String| match c {
        '\t' => {
            let count = if size == 0 { 0 } else { size - column % size };
            column += count;
            out.extend(std::iter::repeat_n(' ', count));
        }
        c => {
            column = if c == '\n' || c == '\r' { 0 } else { column + 1 };
            out.push(c);
        }
    };
    Ok(text.map(fuel, expand)?.into())
}

pub(in super::super) fn capitalized(fuel: &Fuel, text: &Text) -> Result<Text> {
    let mut first = true;
    text.map(fuel, |c, out| {
        if std::mem::take(&mut first) { out.extend(c.to_uppercase()) } else { out.extend(c.to_lowercase()) }
    })
}

fn titled(fuel: &Fuel, text: &Text) -> Result<Text> {
    let mut inside = false;
    text.map(fuel, |c, out| {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphabetic();
    })
}
