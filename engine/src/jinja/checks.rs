//! Tests: what follows `is`.

use super::arguments::Arguments;
use super::error::{Result, fail};
use super::methods;
use super::operators::{contains, order};
use super::value::Value;
use super::{filters, fuel::Fuel};

/// `value is name(...)`.
///
/// # Errors
/// If there is no such test, or not for this value.
#[inline(never)]
pub(super) fn test(fuel: &Fuel, name: &str, value: &Value, arguments: Arguments) -> Result<bool> {
    let other = || match &arguments.positional[..] {
        [other] => Ok(other.clone()),
        others => fail(format!("the test {name} compares with 1 value, not {}", others.len())),
    };
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)),
        "string" => matches!(value, Value::Str(_)),
        "mapping" => matches!(value, Value::Map(_)),
        // An undefined value is an empty sequence.
        "sequence" => matches!(
            value,
            Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Map(_) | Value::Undefined(_)
        ),
        "iterable" => matches!(
            value,
            Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Map(_)
                | Value::Undefined(_)
                | Value::Loop(_)
        ),
        "callable" => matches!(value, Value::Function(_) | Value::Undefined(_)),
        "escaped" => false,
        "odd" | "even" | "divisibleby" => {
            let divisor = if name == "divisibleby" { other()?.as_int() } else { Some(2) };
            match (value.as_int(), divisor) {
                (Some(value), Some(divisor)) if divisor != 0 => {
                    (value.wrapping_rem(divisor) == 0) != (name == "odd")
                }
                _ => return fail(format!("the test {name} needs integers")),
            }
        }
        "lower" | "upper" => {
            let text = methods::text_of(fuel, value)?;
            let method = if name == "lower" { "islower" } else { "isupper" };
            methods::call(fuel, &Value::Str(text), &method.into(), Arguments::default())?.is_true()
        }
        "eq" | "equalto" | "==" => fuel.equal(value, &other()?)?,
        "ne" | "!=" => !fuel.equal(value, &other()?)?,
        "lt" | "lessthan" | "<" => order(fuel, value, &other()?)?.is_lt(),
        "le" | "<=" => order(fuel, value, &other()?)?.is_le(),
        "gt" | "greaterthan" | ">" => order(fuel, value, &other()?)?.is_gt(),
        "ge" | ">=" => order(fuel, value, &other()?)?.is_ge(),
        "in" => contains(fuel, &other()?, value)?,
        "sameas" => {
            let other = other()?;
            value.type_name() == other.type_name() && fuel.equal(value, &other)?
        }
        "filter" => value.as_str().is_some_and(filters::exists),
        "test" => value.as_str().is_some_and(exists),
        _ => return fail(format!("there is no test {name:?}")),
    })
}

const NAMES: [&str; 39] = [
    "defined",
    "undefined",
    "none",
    "boolean",
    "true",
    "false",
    "integer",
    "float",
    "number",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "callable",
    "escaped",
    "odd",
    "even",
    "divisibleby",
    "lower",
    "upper",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
    "in",
    "sameas",
    "filter",
    "test",
];

/// Whether there is such a test.
fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}
