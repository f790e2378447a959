//! Methods of strings, maps and lists, as in Python.

mod splitting;
pub(super) mod strings;

use super::arguments::{Arguments, required};
use super::ast::Name;
use super::error::{Result, fail};
use super::fuel::Fuel;
use super::operators::position;
use super::repr::write_str;
use super::sequences;
use super::text::{Text, TextBuilder};
use super::value::Value;

/// `str(value)`.
///
/// # Errors
/// If it is nested too deeply.
#[inline(never)]
pub(super) fn text_of(fuel: &Fuel, value: &Value) -> Result<Text> {
    if let Value::Str(text) = value {
        return Ok(text.clone());
    }
    let mut out = TextBuilder::new(fuel);
    write_str(&mut out, value)?;
    out.finish()
}

/// The same for messages.
pub(super) fn shown(fuel: &Fuel, value: &Value) -> Result<String> {
    Ok(text_of(fuel, value)?.as_str().to_string())
}

/// Methods of maps that change nothing; a template may not call the others.
const MAP_METHODS: [&str; 5] = ["get", "items", "keys", "values", "copy"];
const MAP_CHANGES: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const LIST_METHODS: [&str; 3] = ["count", "index", "copy"];
const LIST_CHANGES: [&str; 8] = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];

/// Whether values of this type have the method.
pub(super) fn exists(value: &Value, method: &str) -> bool {
    match value {
        Value::Str(_) => strings::METHODS.contains(&method),
        Value::Map(_) => MAP_METHODS.contains(&method) || MAP_CHANGES.contains(&method),
        Value::List(_) => LIST_METHODS.contains(&method) || LIST_CHANGES.contains(&method),
        Value::Tuple(_) => LIST_METHODS[..2].contains(&method),
        _ => false,
    }
}

/// `value.method(...)`.
///
/// # Errors
/// If there is no such method, or not with these arguments.
#[inline(never)]
pub(super) fn call(fuel: &Fuel, value: &Value, method: &Name, arguments: Arguments) -> Result<Value> {
    match value {
        Value::Str(text) => strings::call(fuel, text, method, arguments),
        Value::Map(map) => match &**method {
            "get" => {
                let [key, default] = arguments.bind("get", ["key", "default"])?;
                let key = required(key, "get", "key")?;
                Ok(map.get(&fuel.key(key)?).cloned().or(default).unwrap_or(Value::None))
            }
            "items" => {
                let [] = arguments.bind("items", [])?;
                sequences::pairs(fuel, map)
            }
            "keys" => {
                let [] = arguments.bind("keys", [])?;
                fuel.burn(map.len())?;
                fuel.list(map.keys().map(|key| key.0.clone()).collect())
            }
            "values" => {
                let [] = arguments.bind("values", [])?;
                fuel.burn(map.len())?;
                fuel.list(map.values().cloned().collect())
            }
            "copy" => Ok(value.clone()),
            _ => fail(format!("the method {method} would change a map, which a template must not")),
        },
        Value::List(items) | Value::Tuple(items) => match &**method {
            "count" => {
                let item = arguments.only("count", "value")?;
                let mut count = 0_usize;
                for other in items.iter() {
                    count += usize::from(fuel.equal(other, &item)?);
                }
                Ok(count.into())
            }
            "index" => {
                let item = arguments.only("index", "value")?;
                match position(fuel, items, &item)? {
                    Some(at) => Ok(at.into()),
                    None => fail("the list does not have the value that index() looks for"),
                }
            }
            "copy" => Ok(value.clone()),
            _ => fail(format!("the method {method} would change a list, which a template must not")),
        },
        other => fail(format!("{:?} has no method {method}", other.type_name())),
    }
}
