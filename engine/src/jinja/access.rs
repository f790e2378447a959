//! Attributes, items, slices and lengths.

use super::ast::Name;
use super::error::{Result, fail};
use super::fuel::Fuel;
use super::methods;
use super::text::{Text, TextBuilder};
use super::value::{Function, Items, Key, Loop, StrKey, Value};
use std::rc::Rc;

/// `value.name`: a method or attribute of its type, else the item of that name.
///
/// # Errors
/// If `value` is undefined.
pub(super) fn attribute(value: &Value, name: &Name) -> Result<Value> {
    match value {
        Value::Undefined(what) => fail(&**what),
        Value::Map(map) if !methods::exists(value, name) => {
            Ok(map.get(&StrKey(name)).cloned().unwrap_or_else(|| Value::missing(value, name)))
        }
        Value::Namespace(map) => {
            Ok(map.borrow().get(&StrKey(name)).cloned().unwrap_or_else(|| Value::missing(value, name)))
        }
        Value::Loop(state) => Ok(loop_attribute(state, name).unwrap_or_else(|| Value::missing(value, name))),
        Value::Function(Function::Cycler(state, _)) => match &**name {
            "current" => Ok(state.0.get(state.1.get()).cloned().unwrap_or(Value::None)),
            "next" => Ok(Value::Function(Function::Cycler(Rc::clone(state), "next"))),
            "reset" => Ok(Value::Function(Function::Cycler(Rc::clone(state), "reset"))),
            _ => Ok(Value::missing(value, name)),
        },
        Value::Function(Function::Macro(definition, _)) if &**name == "name" => {
            Ok(Value::own(Name::clone(&definition.name)))
        }
        _ if methods::exists(value, name) => {
            Ok(Value::Function(Function::Method(Rc::new(value.clone()), Name::clone(name))))
        }
        _ => Ok(Value::missing(value, name)),
    }
}

fn loop_attribute(state: &Rc<Loop>, name: &str) -> Option<Value> {
    let Loop { items, index, depth, .. } = &**state;
    Some(match name {
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
            None => Value::Undefined("there is no previous item".into()),
        },
        "nextitem" => match items.get(index + 1) {
            Some(next) => next.clone(),
            None => Value::Undefined("there is no next item".into()),
        },
        "cycle" | "changed" => {
            Value::Function(Function::Method(Rc::new(Value::Loop(Rc::clone(state))), name.into()))
        }
        _ => return None,
    })
}

/// `value[key]`: an item, else the attribute of that name.
///
/// # Errors
/// If `value` is undefined.
pub(super) fn item(fuel: &Fuel, value: &Value, key: &Value) -> Result<Value> {
    if let Value::Undefined(what) = value {
        return fail(&**what);
    }
    let found = match (value, key) {
        (Value::Map(map), Value::Str(name)) => map.get(&StrKey(name.as_str())).cloned(),
        (Value::Map(map), key) if key.is_hashable() => map.get(&Key(key.clone())).cloned(),
        (Value::List(items) | Value::Tuple(items), key) => {
            key.as_int().and_then(|at| position(at, items.len())).map(|at| items[at].clone())
        }
        (Value::Str(text), key) => key.as_int().and_then(|at| {
            let at = if at < 0 {
                position(at, text.as_str().chars().count())?
            } else {
                usize::try_from(at).ok()?
            };
            let (start, c) = text.as_str().char_indices().nth(at)?;
            Some(text.slice(start..start + c.len_utf8()).into())
        }),
        _ => None,
    };
    match (found, key) {
        (Some(found), _) => Ok(found),
        (None, Value::Str(name)) => attribute(value, &name.as_str().into()),
        (None, key) => Ok(Value::missing(value, &methods::shown(fuel, key)?)),
    }
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
pub(super) fn slice(fuel: &Fuel, value: &Value, parts: [&Value; 3]) -> Result<Value> {
    fuel.burn_bytes(length(value).unwrap_or(0))?;
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
    let indices = |length: usize| -> Vec<usize> {
        let length = length as i128;
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let clamp =
            |bound: i128| (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(low, high);
        let (mut at, end) = if step > 0 {
            (start.map_or(low, clamp), stop.map_or(high, clamp))
        } else {
            (start.map_or(high, clamp), stop.map_or(low, clamp))
        };
        let mut indices = Vec::new();
        while if step > 0 { at < end } else { at > end } {
            indices.push(at as usize);
            at = at.saturating_add(step);
        }
        indices
    };
    let pick = |items: &[Value]| indices(items.len()).into_iter().map(|at| items[at].clone()).collect();
    match value {
        Value::List(items) => Ok(Value::list(pick(items))),
        Value::Tuple(items) => Ok(Value::tuple(pick(items))),
        Value::Str(text) => Ok(slice_text(fuel, text, &indices)?.into()),
        Value::Undefined(what) => fail(&**what),
        other => fail(format!("{:?} has no slices", other.type_name())),
    }
}

fn slice_text(fuel: &Fuel, text: &Text, indices: &dyn Fn(usize) -> Vec<usize>) -> Result<Text> {
    let mut starts: Vec<usize> = text.as_str().char_indices().map(|(at, _)| at).collect();
    let indices = indices(starts.len());
    starts.push(text.len());
    let mut out = TextBuilder::new(fuel);
    for at in indices {
        out.push_slice(text, starts[at]..starts[at + 1]);
    }
    out.finish()
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
    fuel.burn(length(value).unwrap_or(0))?;
    match value {
        Value::Undefined(_) => Ok(Rc::default()),
        Value::List(items) | Value::Tuple(items) => Ok(Rc::clone(items)),
        Value::Str(text) => Ok(Rc::new(Items::new(text.chars().map(Value::from).collect()))),
        Value::Map(map) => Ok(Rc::new(Items::new(map.keys().map(|key| key.0.clone()).collect()))),
        other => fail(format!("{:?} object is not iterable", other.type_name())),
    }
}
