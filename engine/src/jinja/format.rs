//! Python's `%` operator on strings, and `str.format`.

mod spec;

use super::access;
use super::arguments::Arguments;
use super::ast::Name;
use super::error::{Result, fail};
use super::fuel::Fuel;
use super::methods::text_of;
use super::repr::write_repr;
use super::text::{Text, TextBuilder};
use super::value::{StrKey, Value};
use spec::{Spec, formatted, padded};

/// Units for each field of a pattern.
const FIELD_UNITS: usize = 8;
/// Longest text that a field gives to the specification of another.
const MAX_PART: usize = 100;

/// Reads a pattern from left to right.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Takes the next character if it is one of `wanted`.
    fn next_of(&mut self, wanted: &str) -> Option<char> {
        self.peek().filter(|&c| wanted.contains(c)).inspect(|c| self.at += c.len_utf8())
    }

    /// Takes text up to `end`, and `end`.
    fn until(&mut self, end: char) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let length = rest.find(end)?;
        self.at += length + end.len_utf8();
        Some(&rest[..length])
    }

    fn number(&mut self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at += length;
        rest[..length].parse().ok()
    }
}

/// `pattern % value`.
///
/// # Errors
/// If they do not match.
pub(super) fn percent(fuel: &Fuel, pattern: &Text, value: &Value) -> Result<Value> {
    fuel.burn_characters(pattern.len())?;
    let items: &[Value] = match value {
        Value::Tuple(items) => items,
        other => std::slice::from_ref(other),
    };
    let mut items = items.iter();
    let mut scanner = Scanner::new(pattern.as_str());
    let mut out = TextBuilder::new(fuel);
    loop {
        let start = scanner.at;
        let Some(literal) = scanner.until('%') else { break };
        out.check()?;
        fuel.burn(FIELD_UNITS)?;
        out.push_slice(pattern, start..start + literal.len());
        let named = match scanner.next_of("(").and_then(|_| scanner.until(')')) {
            None => None,
            Some(key) => match value {
                Value::Map(map) => match map.get(&StrKey(key)) {
                    Some(found) => Some(found),
                    None => return fail(format!("% finds no {key:?}")),
                },
                _ => return fail("% with names needs a map"),
            },
        };
        let mut spec = Spec::default();
        while let Some(flag) = scanner.next_of("-+ #0") {
            match flag {
                '-' => spec.align = Some('<'),
                '0' if spec.align.is_none() => (spec.fill, spec.align) = ('0', Some('=')),
                '#' => spec.alternate = true,
                '0' => {}
                sign => spec.sign = sign,
            }
        }
        spec.width = scanner.number().unwrap_or(0);
        if scanner.next_of(".").is_some() {
            spec.precision = Some(scanner.number().unwrap_or(0));
        }
        scanner.next_of("hlL");
        let kind = scanner.next();
        if kind == Some('%') {
            out.push_str("%");
            continue;
        }
        let Some(item) = named.or_else(|| items.next()) else {
            return fail("not enough arguments for format string");
        };
        if spec.align.is_none() {
            spec.align = Some('>');
        }
        let text = match (kind, item) {
            (Some('s'), item) => text_of(fuel, item)?,
            (Some('r' | 'a'), item) => repr(fuel, item)?,
            (Some('c'), Value::Str(text)) => text.clone(),
            (Some(kind @ ('d' | 'i' | 'u')), Value::Float(float)) => {
                spec.kind = Some(if kind == 'i' || kind == 'u' { 'd' } else { kind });
                out.push(&formatted(fuel, &Value::Int(float.value.trunc() as i128), &spec)?);
                continue;
            }
            (Some(kind), item) if "diuxXofFeEgGc".contains(kind) && item.as_number().is_some() => {
                spec.kind = Some(if "iu".contains(kind) { 'd' } else { kind });
                out.push(&formatted(fuel, item, &spec)?);
                continue;
            }
            (Some(kind), item) => {
                return fail(format!("%{kind} does not format {:?}", item.type_name()));
            }
            (None, _) => return fail("incomplete format"),
        };
        if spec.fill == '0' {
            (spec.fill, spec.align) = (' ', Some('>'));
        }
        padded(&mut out, &spec::cut(fuel, &text, spec.precision)?, &spec)?;
    }
    out.push_slice(pattern, scanner.at..pattern.len());
    if items.next().is_some() && !matches!(value, Value::Map(_)) {
        return fail("not all arguments converted during string formatting");
    }
    Ok(out.finish()?.into())
}

fn repr(fuel: &Fuel, value: &Value) -> Result<Text> {
    let mut out = TextBuilder::new(fuel);
    write_repr(&mut out, value)?;
    out.finish()
}

/// `pattern.format(...)`.
///
/// # Errors
/// If they do not match.
pub(super) fn format(fuel: &Fuel, pattern: &Text, arguments: &Arguments) -> Result<Text> {
    fuel.burn_characters(pattern.len())?;
    let mut out = TextBuilder::new(fuel);
    let mut automatic = 0;
    let mut scanner = Scanner::new(pattern.as_str());
    let mut start = 0;
    while let Some(c) = scanner.next() {
        if c != '{' && c != '}' {
            continue;
        }
        out.push_slice(pattern, start..scanner.at - 1);
        if scanner.next_of(if c == '{' { "{" } else { "}" }).is_some() {
            out.push_str(if c == '{' { "{" } else { "}" });
        } else if c == '}' {
            return fail("single '}' in a format string");
        } else {
            fuel.burn(FIELD_UNITS)?;
            out.push(&field(fuel, &mut scanner, arguments, &mut automatic)?);
            out.check()?;
        }
        start = scanner.at;
    }
    out.push_slice(pattern, start..pattern.len());
    out.finish()
}

/// The value of a field, after its opening brace, as it is written.
fn field(
    fuel: &Fuel,
    scanner: &mut Scanner<'_>,
    arguments: &Arguments,
    automatic: &mut usize,
) -> Result<Text> {
    let rest = &scanner.text[scanner.at..];
    let mut depth = 0;
    let end = rest.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth < 0
    });
    let Some(end) = end else { return fail("a field of a format string has no end") };
    scanner.at += end + 1;
    let (name, spec) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
    let (name, conversion) = name.split_once('!').unwrap_or((name, ""));
    let mut value = argument(fuel, name, arguments, automatic)?;
    match conversion {
        "" => {}
        "s" => value = text_of(fuel, &value)?.into(),
        "r" | "a" => value = repr(fuel, &value)?.into(),
        _ => return fail(format!("unknown conversion {conversion:?} in a format string")),
    }
    let mut spec = spec.to_string();
    // Fields within a specification give its parts.
    for _ in 0..4 {
        let Some((before, inner)) = spec.split_once('{') else { break };
        let Some((inner, after)) = inner.split_once('}') else { break };
        let part = text_of(fuel, &argument(fuel, inner, arguments, automatic)?)?;
        if part.len() > MAX_PART {
            return fail(format!("a part of a format specification is longer than {MAX_PART} bytes"));
        }
        spec = format!("{before}{}{after}", part.as_str());
    }
    formatted(fuel, &value, &Spec::parse(&spec)?)
}

/// The argument that a field names, with its attributes and items.
fn argument(fuel: &Fuel, name: &str, arguments: &Arguments, automatic: &mut usize) -> Result<Value> {
    fuel.burn(1 + arguments.named.len() / 4)?;
    let first = name.find(['.', '[']).unwrap_or(name.len());
    let (base, mut rest) = name.split_at(first);
    let found = if base.is_empty() {
        *automatic += 1;
        arguments.positional.get(*automatic - 1)
    } else if let Ok(index) = base.parse::<usize>() {
        arguments.positional.get(index)
    } else {
        arguments.named.iter().find(|(known, _)| &**known == base).map(|(_, value)| value)
    };
    let Some(found) = found else { return fail(format!("a format string finds no argument {base:?}")) };
    let mut value = found.clone();
    while !rest.is_empty() {
        let (next, after) = if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').unwrap_or((inner, ""));
            let key = key.parse().map_or_else(|_| Value::own(key), Value::Int);
            (access::item(fuel, &value, &key)?, after)
        } else {
            let inner = rest.strip_prefix('.').unwrap_or(rest);
            let end = inner.find(['.', '[']).unwrap_or(inner.len());
            (access::attribute(fuel, &value, &Name::from(&inner[..end]))?, &inner[end..])
        };
        (value, rest) = (next, after);
    }
    Ok(value)
}
