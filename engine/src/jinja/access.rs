//! Attributes, items, slices and lengths.

use super::ast::Name;
use super::error::{Result, excerpt, fail};
use super::fuel::Fuel;
use super::methods;
use super::text::{Text, TextBuilder};
use super::value::{Function, Items, Loop, MAX_NAME, Method, StrKey, Value};
use std::rc::Rc;

/// What a name takes beside its characters.
const NAME_BYTES: usize = 64;

/// `value.name`: a method or attribute of its type, else the item of that name.
///
/// # Errors
/// If `value` is undefined.
#[inline(never)]
pub(super) fn attribute(fuel: &Fuel, value: &Value, name: &Name) -> Result<Value> {
    fuel.burn_bytes(name.len())?;
    let found = match value {
        Value::Undefined(missing) => return fail(missing.to_string()),
        Value::Map(map) if !methods::exists(value, name) => map.get(&StrKey(name)).cloned(),
        Value::Namespace(map) => map.borrow().get(&StrKey(name)).cloned(),
        Value::Loop(state) => loop_attribute(fuel, state, name)?,
        Value::Function(Function::Cycler(state, _)) => match &**name {
            "current" => Some(state.0.get(state.1.get()).cloned().unwrap_or(Value::None)),
            "next" => Some(Value::Function(Function::Cycler(Rc::clone(state), "next"))),
            "reset" => Some(Value::Function(Function::Cycler(Rc::clone(state), "reset"))),
            _ => None,
        },
        Value::Function(Function::Macro(definition, _)) if &**name == "name" => {
            Some(Value::own(Name::clone(&definition.name)))
        }
        _ if methods::exists(value, name) => Some(method(fuel, value, name)?),
        _ => None,
    };
    Ok(found.unwrap_or_else(|| Value::missing(value, Name::clone(name))))
}

fn method(fuel: &Fuel, value: &Value, name: &Name) -> Result<Value> {
    let _held = fuel.hold(size_of::<Method>())?;
    Ok(Value::Function(Function::Method(Rc::new(Method {
        value: value.clone(),
        name: Name::clone(name),
        _held,
    }))))
}

fn loop_attribute(fuel: &Fuel, state: &Rc<Loop>, name: &Name) -> Result<Option<Value>> {
    let Loop { items, index, depth, .. } = &**state;
    Ok(Some(match &**name {
        "index" => (index + 1).into(),
        "index0" => (*index).into(),
        "revindex" => (items.len() - index).into(),
        "revindex0" => (items.len() - index - 1).into(),
        "first" => (*index == 0).into(),
        "last" => (index + 1 == items.len()).into(),
        "length" => items.len().into(),
        "depth" => (depth + 1).into(),
        "depth0" => (*depth).into(),
        "previtem" => match index.checked_sub(1) {
            Some(previous) => items[previous].clone(),
            None => Value::undefined("there is no previous item"),
        },
        "nextitem" => match items.get(index + 1) {
            Some(next) => next.clone(),
            None => Value::undefined("there is no next item"),
        },
        "cycle" | "changed" => method(fuel, &Value::Loop(Rc::clone(state)), name)?,
        _ => return Ok(None),
    }))
}

/// `value[key]`: an item, else the attribute of that name.
///
/// # Errors
/// If `value` is undefined.
#[inline(never)]
pub(super) fn item(fuel: &Fuel, value: &Value, key: &Value) -> Result<Value> {
    fuel.burn(1)?;
    if let Value::Undefined(missing) = value {
        return fail(missing.to_string());
    }
    let found = match (value, key) {
        (Value::Map(map), key) if key.is_hashable() => map.get(&fuel.key(key.clone())?).cloned(),
        (Value::List(items) | Value::Tuple(items), key) => {
            key.as_int().and_then(|at| position(at, items.len())).map(|at| items[at].clone())
        }
        (Value::Str(text), key) => match key.as_int() {
            Some(at) => character(fuel, text, at)?.map(Value::Str),
            None => None,
        },
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let name = methods::text_of(fuel, key)?;
    // What is missing keeps a name of its own.
    let name = excerpt(name.as_str(), MAX_NAME);
    fuel.keep(NAME_BYTES + name.len())?;
    match key {
        Value::Str(_) => attribute(fuel, value, &name.into()),
        _ => Ok(Value::missing(value, name.into())),
    }
}

fn character(fuel: &Fuel, text: &Text, at: i128) -> Result<Option<Text>> {
    let str = text.as_str();
    let at = if at < 0 {
        fuel.burn_bytes(str.len())?;
        position(at, str.chars().count())
    } else {
        usize::try_from(at).ok()
    };
    let Some(at) = at else { return Ok(None) };
    fuel.burn_bytes(at.min(str.len()))?;
    let Some((start, c)) = str.char_indices().nth(at) else { return Ok(None) };
    text.slice(fuel, start..start + c.len_utf8()).map(Some)
}

/// The place of an index, which counts from the end if it is negative.
fn position(index: i128, length: usize) -> Option<usize> {
    let index = if index < 0 { index + length as i128 } else { index };
    usize::try_from(index).ok().filter(|&index| index < length)
}

/// `value[start:stop:step]`.
///
/// # Errors
/// If `value` has no slices.
#[inline(never)]
pub(super) fn slice(fuel: &Fuel, value: &Value, parts: [&Value; 3]) -> Result<Value> {
    match value {
        Value::Str(text) => fuel.burn_characters(text.len())?,
        other => fuel.burn_bytes(length(other).unwrap_or(0))?,
    }
    let bound = |value: &Value| match value {
        Value::None => Ok(None),
        other => match other.as_int() {
            Some(bound) => Ok(Some(bound)),
            None => fail("the parts of a slice must be integers"),
        },
    };
    let [start, stop, step] = [bound(parts[0])?, bound(parts[1])?, bound(parts[2])?];
    let step = step.unwrap_or(1);
    if step == 0 {
        return fail("the step of a slice must not be 0");
    }
    // The first index and the number of indices.
    let places = |length: usize| -> (i128, usize) {
        let length = length as i128;
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let clamp =
            |bound: i128| (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(low, high);
        let (at, end) = if step > 0 {
            (start.map_or(low, clamp), stop.map_or(high, clamp))
        } else {
            (start.map_or(high, clamp), stop.map_or(low, clamp))
        };
        let distance = if step > 0 { end - at } else { at - end }.max(0).unsigned_abs();
        (at, distance.div_ceil(step.unsigned_abs()) as usize)
    };
    // Within a sequence, so that it cannot overflow.
    let place = |at: i128, index: usize| (at + index as i128 * step) as usize;
    let pick = |items: &[Value]| {
        let (at, count) = places(items.len());
        (0..count).map(|index| items[place(at, index)].clone()).collect()
    };
    match value {
        Value::List(items) => fuel.list(pick(items)),
        Value::Tuple(items) => fuel.tuple(pick(items)),
        Value::Str(text) => {
            let str = text.as_str();
            let (at, count) = places(str.chars().count());
            if step == 1 {
                let byte = |at: usize| str.char_indices().nth(at).map_or(str.len(), |(byte, _)| byte);
                let range = byte(at as usize)..byte(at as usize + count);
                return Ok(text.slice(fuel, range)?.with_html(false).into());
            }
            let _held = fuel.hold(str.len().saturating_mul(size_of::<usize>()))?;
            let starts: Vec<usize> = str.char_indices().map(|(byte, _)| byte).chain([str.len()]).collect();
            let mut out = TextBuilder::new(fuel);
            for index in 0..count {
                let at = place(at, index);
                out.push_slice(text, starts[at]..starts[at + 1]);
            }
            Ok(out.finish()?.into())
        }
        Value::Undefined(missing) => fail(missing.to_string()),
        other => fail(format!("{:?} has no slices", other.type_name())),
    }
}

/// `len(value)`.
///
/// # Errors
/// If it has no length.
pub(super) fn length(value: &Value) -> Result<usize> {
    match value {
        Value::Undefined(_) => Ok(0),
        Value::Str(text) => Ok(text.as_str().chars().count()),
        Value::List(items) | Value::Tuple(items) => Ok(items.len()),
        Value::Map(map) => Ok(map.len()),
        Value::Loop(state) => Ok(state.items.len()),
        other => fail(format!("object of type {:?} has no length", other.type_name())),
    }
}

/// The items that a `for` loop goes through.
///
/// # Errors
/// If there are none.
pub(super) fn items(fuel: &Fuel, value: &Value) -> Result<Rc<Items>> {
    match value {
        Value::Undefined(_) => Ok(Rc::default()),
        Value::List(items) | Value::Tuple(items) => {
            fuel.burn(1 + items.len())?;
            Ok(Rc::clone(items))
        }
        Value::Str(text) => {
            fuel.burn(1 + text.len())?;
            fuel.sequence(text.chars(fuel).map(|c| c.map(Value::Str)).collect::<Result<_>>()?)
        }
        Value::Map(map) => {
            fuel.burn(1 + map.len())?;
            fuel.sequence(map.keys().map(|key| key.0.clone()).collect())
        }
        other => fail(format!("{:?} object is not iterable", other.type_name())),
    }
}
