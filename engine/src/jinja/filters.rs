//! Filters: what follows `|`. Those of sequences are in `sequences`.

use super::arguments::{Arguments, integer, required, string};
use super::ast::Name;
use super::error::{Result, fail};
use super::format;
use super::fuel::Fuel;
use super::methods::strings::{capitalized, is_space, justified, replaced, stripped};
use super::methods::{exists as exists_method, text_of};
use super::sequences;
use super::text::{Text, TextBuilder};
use super::tojson::to_json;
use super::value::{Map, Value};
use super::{access, repr};

const TEXT: [&str; 20] = [
    "string",
    "upper",
    "lower",
    "capitalize",
    "title",
    "trim",
    "replace",
    "truncate",
    "wordcount",
    "indent",
    "center",
    "format",
    "e",
    "escape",
    "forceescape",
    "safe",
    "urlencode",
    "striptags",
    "pprint",
    "tojson",
];
const OTHER: [&str; 9] = ["default", "d", "int", "float", "abs", "round", "attr", "length", "count"];

/// Whether there is such a filter.
pub(super) fn exists(name: &str) -> bool {
    TEXT.contains(&name) || OTHER.contains(&name) || sequences::FILTERS.contains(&name)
}

/// `value|name(...)`.
///
/// # Errors
/// If there is no such filter, or not for this value.
pub(super) fn apply(fuel: &Fuel, name: &str, value: Value, arguments: Arguments) -> Result<Value> {
    // `map` applies filters itself: the stack holds nothing of the others then.
    match sequences::FILTERS.contains(&name) {
        true => sequences::apply(fuel, name, &value, arguments),
        false => of_value(fuel, name, value, arguments),
    }
}

#[inline(never)]
fn of_value(fuel: &Fuel, name: &str, value: Value, arguments: Arguments) -> Result<Value> {
    match name {
        "default" | "d" => {
            let [default, boolean] = arguments.bind(name, ["default_value", "boolean"])?;
            let boolean = boolean.is_some_and(|boolean| boolean.is_true());
            let missing = matches!(value, Value::Undefined(_)) || (boolean && !value.is_true());
            Ok(if missing { default.unwrap_or_else(|| Value::own("")) } else { value })
        }
        "length" | "count" => {
            let [] = arguments.bind(name, [])?;
            fuel.burn_bytes(value.as_str().map_or(0, str::len))?;
            Ok(access::length(&value)?.into())
        }
        "tojson" => to_json(fuel, &value, arguments),
        "attr" => {
            let attribute = string(arguments.only(name, "name")?, name)?;
            let name: Name = attribute.shared();
            // Unlike `value.name`, not an item.
            if matches!(value, Value::Map(_)) && !exists_method(&value, &name) {
                return Ok(Value::missing(&value, name));
            }
            access::attribute(fuel, &value, &name)
        }
        "int" | "float" | "abs" | "round" => number(fuel, name, &value, arguments),
        _ if TEXT.contains(&name) => {
            let text = match (name, value) {
                // The only one that shows the quotes of a string.
                ("pprint", value) => {
                    let mut out = TextBuilder::new(fuel);
                    repr::write_repr(&mut out, &value)?;
                    out.finish()?
                }
                (_, value) => text_of(fuel, &value)?,
            };
            match name {
                "string" | "trim" | "replace" | "safe" | "format" => fuel.burn_bytes(text.len())?,
                _ => fuel.burn_characters(text.len())?,
            }
            of_text(fuel, name, &text, arguments)
        }
        _ => fail(format!("there is no filter {name:?}")),
    }
}

fn number(fuel: &Fuel, name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    fuel.burn_characters(value.as_str().map_or(0, str::len))?;
    match name {
        "int" => {
            let [default, base] = arguments.bind(name, ["default", "base"])?;
            let base =
                u32::try_from(integer(base, 10)?).ok().filter(|base| (2..=36).contains(base)).unwrap_or(10);
            let parsed = match value {
                Value::Str(text) => {
                    let text = text.as_str().trim().replace('_', "");
                    let prefix = match base {
                        16 => "0x",
                        8 => "0o",
                        2 => "0b",
                        _ => "",
                    };
                    let digits = text.strip_prefix(prefix).unwrap_or(&text);
                    let whole = i128::from_str_radix(digits, base).ok();
                    whole.or_else(|| {
                        text.parse().ok().filter(|float: &f64| float.is_finite()).map(|float| float as i128)
                    })
                }
                Value::Float(float) if float.value.is_finite() => Some(float.value as i128),
                other => other.as_int(),
            };
            Ok(parsed.map(Value::Int).or(default).unwrap_or(Value::Int(0)))
        }
        "float" => {
            let [default] = arguments.bind(name, ["default"])?;
            let parsed = match value {
                Value::Str(text) => text.as_str().trim().parse().ok(),
                other => other.as_number(),
            };
            Ok(parsed.map(Value::float).or(default).unwrap_or_else(|| Value::float(0.0)))
        }
        "abs" => match (value.as_int(), value.as_number()) {
            (Some(value), _) => Ok(Value::Int(value.saturating_abs())),
            (None, Some(value)) => Ok(Value::float(value.abs())),
            (None, None) => fail(format!("abs needs a number, not {:?}", value.type_name())),
        },
        _ => {
            let [precision, method] = arguments.bind(name, ["precision", "method"])?;
            let precision = usize::try_from(integer(precision, 0)?).unwrap_or(0).min(100);
            fuel.burn(precision)?;
            if matches!(value, Value::Int(_)) && method.is_none() {
                return Ok(value.clone());
            }
            let Some(number) = value.as_number() else {
                return fail(format!("round needs a number, not {:?}", value.type_name()));
            };
            let scale = libm::pow(10.0, precision as f64);
            let rounded = match method.as_ref().and_then(Value::as_str) {
                Some("ceil") => (number * scale).ceil() / scale,
                Some("floor") => (number * scale).floor() / scale,
                // Halves go to the even neighbour, as in Python.
                _ => format!("{number:.precision$}").parse().unwrap_or(number),
            };
            Ok(Value::float(rounded))
        }
    }
}

/// A filter of strings; other values were converted to one.
fn of_text(fuel: &Fuel, name: &str, text: &Text, arguments: Arguments) -> Result<Value> {
    match name {
        "trim" => {
            let [chars] = arguments.bind(name, ["chars"])?;
            let chars = match chars {
                None | Some(Value::None) => None,
                Some(chars) => Some(string(chars, name)?),
            };
            return Ok(stripped(fuel, text, chars.as_ref(), true, true)?.into());
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let old = text_of(fuel, &required(old, name, "old")?)?;
            let new = text_of(fuel, &required(new, name, "new")?)?;
            let count = match count {
                None | Some(Value::None) => usize::MAX,
                count => usize::try_from(integer(count, -1)?).unwrap_or(usize::MAX),
            };
            return Ok(replaced(fuel, text, &old, &new, count)?.into());
        }
        "truncate" => {
            let [length, kill, end, leeway] =
                arguments.bind(name, ["length", "killwords", "end", "leeway"])?;
            let length = usize::try_from(integer(length, 255)?).unwrap_or(0);
            let leeway = usize::try_from(integer(leeway, 5)?).unwrap_or(0);
            let end = match end {
                Some(end) => text_of(fuel, &end)?,
                None => Text::own("..."),
            };
            return truncated(fuel, text, length, kill.is_some_and(|kill| kill.is_true()), &end, leeway);
        }
        "indent" => {
            let [width, first, blank] = arguments.bind(name, ["width", "first", "blank"])?;
            let is_set = |option: Option<Value>| option.is_some_and(|option| option.is_true());
            let width = match width {
                Some(Value::Str(text)) => text,
                width => {
                    let width = usize::try_from(integer(width, 4)?).unwrap_or(0).min(1000);
                    Text::own(" ".repeat(width))
                }
            };
            return indented(fuel, text, &width, is_set(first), is_set(blank));
        }
        "center" => {
            let [width] = arguments.bind(name, ["width"])?;
            let width = usize::try_from(integer(width, 80)?).unwrap_or(0);
            return Ok(justified(fuel, text, name, width, &Text::own(" "))?.into());
        }
        "format" => {
            let Arguments { positional, named } = arguments;
            let values = if named.is_empty() {
                fuel.tuple(positional)?
            } else {
                let mut fields = Map::new();
                for (name, value) in named {
                    fields.insert(fuel.key(Value::own(name))?, value);
                }
                fuel.map(fields)?
            };
            return format::percent(fuel, text, &values);
        }
        _ => {}
    }
    let [] = arguments.bind(name, [])?;
    Ok(match name {
        "upper" => text.map(fuel, |c, out| out.extend(c.to_uppercase()))?.into(),
        "lower" => text.map(fuel, |c, out| out.extend(c.to_lowercase()))?.into(),
        "capitalize" => capitalized(fuel, text)?.into(),
        "title" => {
            let mut begins = true;
            text.map(fuel, |c, out| {
                if begins {
                    out.extend(c.to_uppercase())
                } else {
                    out.extend(c.to_lowercase())
                }
                begins = is_space(c) || "-({[<".contains(c);
            })?
            .into()
        }
        "wordcount" => {
            let is_word = |c: char| c == '_' || c.is_alphanumeric();
            text.as_str().split(|c| !is_word(c)).filter(|word| !word.is_empty()).count().into()
        }
        "e" | "escape" => text.escaped(fuel)?.into(),
        "forceescape" => text.clone().with_html(false).escaped(fuel)?.into(),
        "safe" => text.clone().with_html(true).into(),
        "urlencode" => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-~/".contains(c);
            text.map(fuel, |c, out| {
                if plain(c) {
                    out.push(c);
                    return;
                }
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("%{byte:02X}"));
                }
            })?
            .into()
        }
        "striptags" => {
            let mut inside = false;
            let plain = text.map(fuel, |c, out| {
                if !inside && c != '<' {
                    out.push(c);
                }
                inside = c == '<' || (inside && c != '>');
            })?;
            // Words with single spaces between them.
            let (mut words, mut spaces) = (0, 0);
            let words = plain.map(fuel, |c, out| match is_space(c) {
                true => spaces += 1,
                false => {
                    if spaces > 0 && words > 0 {
                        out.push(' ');
                    }
                    (words, spaces) = (words + 1, 0);
                    out.push(c);
                }
            })?;
            words.into()
        }
        _ => text.clone().into(),
    })
}

fn truncated(
    fuel: &Fuel,
    text: &Text,
    length: usize,
    kill: bool,
    end: &Text,
    leeway: usize,
) -> Result<Value> {
    let str = text.as_str();
    if str.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.clone().into());
    }
    let room = length.saturating_sub(end.as_str().chars().count());
    let mut to = str.char_indices().nth(room).map_or(str.len(), |(at, _)| at);
    if !kill {
        to = str[..to].rfind(' ').unwrap_or(to);
    }
    let mut out = TextBuilder::new(fuel);
    out.push_slice(text, 0..to);
    out.push(end);
    Ok(out.finish()?.into())
}

fn indented(fuel: &Fuel, text: &Text, width: &Text, first: bool, blank: bool) -> Result<Value> {
    let mut out = TextBuilder::new(fuel);
    let mut at = 0;
    for (index, line) in text.as_str().split('\n').enumerate() {
        out.check()?;
        if index > 0 {
            out.push_str("\n");
        }
        if (index > 0 || first) && (blank || !line.is_empty()) {
            out.push(width);
        }
        out.push_slice(text, at..at + line.len());
        at += line.len() + 1;
    }
    Ok(out.finish()?.into())
}
