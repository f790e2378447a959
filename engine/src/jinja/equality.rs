//! Which values are equal, and keys of maps.

use super::value::{Function, Value};
use indexmap::Equivalent;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

/// Python's `==`.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => a.as_str() == b.as_str(),
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                Rc::ptr_eq(a, b) || a[..] == b[..]
            }
            (Value::Map(a), Value::Map(b)) => Rc::ptr_eq(a, b) || ***a == ***b,
            (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
            (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
            (Value::Function(a), Value::Function(b)) => match (a, b) {
                (Function::Macro(a, _), Function::Macro(b, _)) => Arc::ptr_eq(a, b),
                (Function::Global(a), Function::Global(b)) => a == b,
                (Function::Method(a), Function::Method(b)) => Rc::ptr_eq(a, b),
                (Function::Cycler(a, name), Function::Cycler(b, other)) => Rc::ptr_eq(a, b) && name == other,
                (Function::Joiner(a), Function::Joiner(b)) => Rc::ptr_eq(a, b),
                _ => false,
            },
            _ => match (self.exact(), other.exact()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}

/// A number that can be compared with others.
#[derive(PartialEq)]
enum Exact {
    Integer(i128),
    /// A float that is no integer of that range.
    Other(f64),
}

impl Value {
    fn exact(&self) -> Option<Exact> {
        if let Value::Float(float) = self {
            let value = float.value;
            // The first float above the range.
            const END: f64 = -(i128::MIN as f64);
            let whole = value.trunc() == value && (-END..END).contains(&value);
            return Some(if whole { Exact::Integer(value as i128) } else { Exact::Other(value) });
        }
        self.as_int().map(Exact::Integer)
    }
}

/// A key of a map: a hashable value. Equal keys have equal hashes, as `1`, `1.0` and `true` in Python, and others rarely
/// do: a map of many keys with one hash would be slow.
#[derive(Clone, Debug)]
pub(crate) struct Key(pub(crate) Value);

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

fn hash<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        // As `StrKey`.
        Value::Str(text) => text.as_str().hash(state),
        Value::Tuple(items) => {
            items.len().hash(state);
            items.iter().for_each(|item| hash(item, state));
        }
        Value::Undefined(_) | Value::None | Value::List(_) | Value::Map(_) => value.type_name().hash(state),
        Value::Namespace(map) => Rc::as_ptr(map).hash(state),
        Value::Loop(state_of_loop) => Rc::as_ptr(state_of_loop).hash(state),
        Value::Function(Function::Global(name)) => name.hash(state),
        Value::Function(Function::Macro(definition, _)) => Arc::as_ptr(definition).hash(state),
        Value::Function(Function::Method(method)) => Rc::as_ptr(method).hash(state),
        Value::Function(Function::Cycler(items, _)) => Rc::as_ptr(items).hash(state),
        Value::Function(Function::Joiner(joiner)) => Rc::as_ptr(joiner).hash(state),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => match value.exact() {
            Some(Exact::Integer(value)) => value.hash(state),
            Some(Exact::Other(value)) => value.to_bits().hash(state),
            None => {}
        },
    }
}

/// A string that is looked up among the keys.
#[derive(Hash)]
pub(crate) struct StrKey<'a>(pub(crate) &'a str);

impl Equivalent<Key> for StrKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.0.as_str() == Some(self.0)
    }
}
