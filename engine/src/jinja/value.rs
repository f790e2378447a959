//! Values of a template, which behave as Python's.

use super::ast::{For, Macro, Name};
use super::text::Text;
use indexmap::{Equivalent, IndexMap};
use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing of that name; what an error says of it.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(Float),
    Str(Text),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Map(Rc<Fields>),
    /// `namespace(...)`, the only value that a template can change.
    Namespace(Rc<RefCell<Map>>),
    Function(Function),
    /// `loop`
    Loop(Rc<Loop>),
}

pub(crate) type Map = IndexMap<Key, Value>;

/// The values of a list or tuple.
#[derive(Debug, Default)]
pub(crate) struct Items {
    values: Vec<Value>,
    depth: usize,
}

/// The fields of a map.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map,
    depth: usize,
}

impl Items {
    pub(super) fn new(values: Vec<Value>) -> Self {
        let depth = values.iter().map(Value::depth).max().map_or(0, |depth| depth + 1);
        Items { values, depth }
    }
}

impl Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.values
    }
}

impl Deref for Fields {
    type Target = Map;

    fn deref(&self) -> &Map {
        &self.map
    }
}

/// A number that is no integer, or one too large to compute with.
#[derive(Clone, Debug)]
pub(crate) struct Float {
    pub(crate) value: f64,
    /// The digits of the input, which are kept as they came.
    pub(crate) digits: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Function {
    /// A function of the environment.
    Global(&'static str),
    /// A method of a value.
    Method(Rc<Value>, Name),
    /// A macro, and the scope that it was defined in.
    Macro(Arc<Macro>, usize),
    /// `cycler(...)`: its items and position; the method that is called, if any.
    Cycler(Rc<(Items, Cell<usize>)>, &'static str),
    /// `joiner(...)`: its separator, and whether it was called.
    Joiner(Rc<(Text, Cell<bool>)>),
}

/// The state of a `for` loop in one iteration.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(super) items: Rc<Items>,
    pub(super) index: usize,
    pub(super) depth: usize,
    /// The arguments of the last `loop.changed(...)`.
    pub(super) last: Rc<RefCell<Option<Vec<Value>>>>,
    /// The loop and its scope, where it is recursive.
    pub(super) recursion: Option<(Arc<For>, usize)>,
}

impl Value {
    /// A string of the template.
    pub(crate) fn own(text: impl Into<Arc<str>>) -> Value {
        Value::Str(Text::own(text))
    }

    pub(super) fn float(value: f64) -> Value {
        Value::Float(Float { value, digits: None })
    }

    pub(crate) fn list(values: Vec<Value>) -> Value {
        Value::List(Rc::new(Items::new(values)))
    }

    pub(super) fn tuple(values: Vec<Value>) -> Value {
        Value::Tuple(Rc::new(Items::new(values)))
    }

    pub(crate) fn map(map: Map) -> Value {
        let depth = map.iter().map(|(key, value)| key.0.depth().max(value.depth())).max();
        Value::Map(Rc::new(Fields { map, depth: depth.map_or(0, |depth| depth + 1) }))
    }

    /// How many values within one another are reached through it. Namespaces do not count: they are freed one by one, and
    /// compared by identity.
    pub(super) fn depth(&self) -> usize {
        match self {
            Value::List(items) | Value::Tuple(items) => items.depth,
            Value::Map(fields) => fields.depth,
            Value::Loop(state) => state.items.depth + 1,
            Value::Function(Function::Cycler(state, _)) => state.0.depth + 1,
            Value::Function(Function::Method(value, _)) => value.depth() + 1,
            _ => 0,
        }
    }

    /// The attribute or item `name` of `of`, which does not exist.
    pub(super) fn missing(of: &Value, name: &str) -> Value {
        let of = match of {
            Value::None => "None".to_string(),
            other => format!("{:?}", format!("{} object", other.type_name())),
        };
        Value::Undefined(format!("{of} has no attribute {name:?}").into())
    }

    /// The name of its type in Python.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Map(_) => "dict",
            Value::Namespace(_) => "Namespace",
            Value::Function(_) => "function",
            Value::Loop(_) => "LoopContext",
        }
    }

    /// Whether a condition takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(float) => float.value != 0.0,
            Value::Str(text) => !text.as_str().is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Loop(state) => !state.items.is_empty(),
            Value::Namespace(_) | Value::Function(_) => true,
        }
    }

    /// The number of a boolean or an integer.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Bool(value) => Some(i128::from(*value)),
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of any number.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Value::Float(float) => Some(float.value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Whether it can be a key of a map.
    pub(super) fn is_hashable(&self) -> bool {
        match self {
            Value::List(_) | Value::Map(_) => false,
            Value::Tuple(items) => items.iter().all(Value::is_hashable),
            _ => true,
        }
    }
}

/// Python's `==`.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => a.as_str() == b.as_str(),
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                Rc::ptr_eq(a, b) || a.values == b.values
            }
            (Value::Map(a), Value::Map(b)) => Rc::ptr_eq(a, b) || a.map == b.map,
            (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
            (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
            (Value::Function(Function::Macro(a, _)), Value::Function(Function::Macro(b, _))) => {
                Arc::ptr_eq(a, b)
            }
            (Value::Function(Function::Global(a)), Value::Function(Function::Global(b))) => a == b,
            _ => match (self.as_int(), other.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => matches!((self.as_number(), other.as_number()), (Some(a), Some(b)) if a == b),
            },
        }
    }
}

/// A key of a map: a hashable value. Equal keys have equal hashes, as `1`, `1.0` and `true` in Python.
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
        match &self.0 {
            Value::Str(text) => text.as_str().hash(state),
            Value::Tuple(items) => items.iter().for_each(|item| Key(item.clone()).hash(state)),
            number => match number.as_number() {
                // Equal numbers have equal values as floats.
                Some(0.0) => 0.0f64.to_bits().hash(state),
                Some(value) => value.to_bits().hash(state),
                None => number.type_name().hash(state),
            },
        }
    }
}

/// A string that is looked up among the keys.
#[derive(Hash)]
pub(super) struct StrKey<'a>(pub(super) &'a str);

impl Equivalent<Key> for StrKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.0.as_str() == Some(self.0)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::Int(value as i128)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Value {
        Value::Str(text)
    }
}
