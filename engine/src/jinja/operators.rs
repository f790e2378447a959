//! Operators, which compute as Python's.

use super::ast::Operator;
use super::error::{Error, Result, fail};
use super::format;
use super::fuel::Fuel;
use super::text::TextBuilder;
use super::value::Value;
use std::cmp::Ordering;

/// `left operator right`.
///
/// # Errors
/// If Python has no such operation, or the result is too large to compute with.
#[inline(never)]
pub(super) fn arithmetic(fuel: &Fuel, operator: Operator, left: &Value, right: &Value) -> Result<Value> {
    let unsupported = || {
        for side in [left, right] {
            if let Value::Undefined(missing) = side {
                return Error::Failed(missing.to_string());
            }
        }
        let (sign, left, right) = (symbol(operator), left.type_name(), right.type_name());
        Error::Failed(format!("unsupported operand types for {sign}: {left:?} and {right:?}"))
    };
    match (operator, left, right) {
        (Operator::Add, Value::Str(a), Value::Str(b)) => {
            let html = a.is_html() || b.is_html();
            let mut out = TextBuilder::new(fuel);
            for text in [a, b] {
                if html { out.push(&text.escaped(fuel)?) } else { out.push(text) }
            }
            return Ok(out.finish()?.with_html(html).into());
        }
        (Operator::Add, Value::List(a), Value::List(b)) => {
            fuel.burn(a.len() + b.len())?;
            return fuel.list(a.iter().chain(b.iter()).cloned().collect());
        }
        (Operator::Add, Value::Tuple(a), Value::Tuple(b)) => {
            fuel.burn(a.len() + b.len())?;
            return fuel.tuple(a.iter().chain(b.iter()).cloned().collect());
        }
        (Operator::Multiply, sequence @ (Value::Str(_) | Value::List(_) | Value::Tuple(_)), count)
        | (Operator::Multiply, count, sequence @ (Value::Str(_) | Value::List(_) | Value::Tuple(_))) => {
            let count = count.as_int().ok_or_else(unsupported)?;
            return repeated(fuel, sequence, usize::try_from(count.max(0)).unwrap_or(usize::MAX));
        }
        (Operator::Remainder, Value::Str(pattern), value) => return format::percent(fuel, pattern, value),
        _ => {}
    }
    if let (Some(a), Some(b)) = (left.as_int(), right.as_int())
        && let Some(result) = integers(operator, a, b)?
    {
        return Ok(result);
    }
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else { return Err(unsupported()) };
    if b == 0.0 && matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder) {
        return fail("division by zero");
    }
    Ok(Value::float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::FloorDivide => (a / b).floor(),
        Operator::Remainder => {
            let rest = a % b;
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
        }
        Operator::Power => libm::pow(a, b),
    }))
}

/// An operation of integers; `None` where its result is a float.
fn integers(operator: Operator, a: i128, b: i128) -> Result<Option<Value>> {
    let result = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::FloorDivide | Operator::Remainder if b == 0 => return fail("division by zero"),
        // Rounded down, where Rust's operators round towards zero.
        Operator::FloorDivide => {
            a.checked_div(b).map(|quotient| quotient - i128::from(a % b != 0 && (a < 0) != (b < 0)))
        }
        Operator::Remainder => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        Operator::Divide => return Ok(None),
        Operator::Power if b < 0 => return Ok(None),
        Operator::Power => u32::try_from(b).ok().and_then(|power| a.checked_pow(power)),
    };
    match result {
        Some(result) => Ok(Some(Value::Int(result))),
        None => fail("an integer is too large"),
    }
}

fn repeated(fuel: &Fuel, sequence: &Value, count: usize) -> Result<Value> {
    let items = |items: &[Value]| -> Result<Vec<Value>> {
        let length = items.len().saturating_mul(count);
        fuel.burn(length)?;
        // Not more than there is memory for.
        let _room = fuel.hold(length.saturating_mul(size_of::<Value>()))?;
        Ok(items.iter().cycle().take(length).cloned().collect())
    };
    match sequence {
        Value::List(list) => fuel.list(items(list)?),
        Value::Tuple(list) => fuel.tuple(items(list)?),
        Value::Str(text) => {
            let mut out = TextBuilder::new(fuel);
            for _ in 0..if text.len() == 0 { 0 } else { count } {
                out.push(text);
                out.check()?;
            }
            Ok(out.finish()?.into())
        }
        other => Ok(other.clone()),
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Remainder => "%",
        Operator::Power => "**",
    }
}

/// The order of two values.
///
/// # Errors
/// If Python has none for their types.
pub(super) fn order(fuel: &Fuel, left: &Value, right: &Value) -> Result<Ordering> {
    fuel.burn_weight(1 + left.weight().min(right.weight()))?;
    match (left, right) {
        (Value::Undefined(missing), _) | (_, Value::Undefined(missing)) => fail(missing.to_string()),
        // The order of characters is that of their bytes in UTF-8.
        (Value::Str(a), Value::Str(b)) => Ok(a.as_str().cmp(b.as_str())),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            match a.iter().zip(b.iter()).find(|(a, b)| a != b) {
                Some((a, b)) => fuel.inside(|| order(fuel, a, b)),
                None => Ok(a.len().cmp(&b.len())),
            }
        }
        _ => {
            if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
                return Ok(a.cmp(&b));
            }
            match (left.as_number(), right.as_number()) {
                // NaN is neither less nor greater; no template can tell.
                (Some(a), Some(b)) => Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal)),
                _ => fail(format!("{:?} and {:?} have no order", left.type_name(), right.type_name())),
            }
        }
    }
}

/// `item in container`.
///
/// # Errors
/// If the container is none.
pub(super) fn contains(fuel: &Fuel, container: &Value, item: &Value) -> Result<bool> {
    match container {
        Value::Undefined(_) => Ok(false),
        Value::Str(text) => match item {
            Value::Str(part) => {
                fuel.burn_bytes(text.len() + part.len())?;
                Ok(text.as_str().contains(part.as_str()))
            }
            Value::Undefined(missing) => fail(missing.to_string()),
            other => fail(format!("'in <string>' requires a string, not {:?}", other.type_name())),
        },
        Value::List(items) | Value::Tuple(items) => Ok(position(fuel, items, item)?.is_some()),
        Value::Map(map) => Ok(map.contains_key(&fuel.key(item.clone())?)),
        other => fail(format!("argument of type {:?} is not iterable", other.type_name())),
    }
}

/// Where an item is among others.
///
/// # Errors
/// If there is not enough fuel to look at all of them.
pub(super) fn position(fuel: &Fuel, items: &[Value], item: &Value) -> Result<Option<usize>> {
    for (index, other) in items.iter().enumerate() {
        if fuel.equal(other, item)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
