//! Values of a template, which behave as Python's.

pub(crate) use super::equality::{Key, StrKey};

use super::ast::{For, Macro, Name};
use super::error::excerpt;
use super::fuel::{BYTES_PER_UNIT, Held};
use super::text::Text;
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, and why.
    Undefined(Missing),
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

/// Longest name in a message, in characters.
pub(super) const MAX_NAME: usize = 80;

/// Why a value is undefined.
#[derive(Clone, Debug)]
pub(crate) enum Missing {
    /// No variable has this name.
    Variable(Name),
    /// A value of this type has no attribute or item of this name.
    Attribute(&'static str, Name),
    /// The macro was called without this argument.
    Parameter(Name),
    /// Another reason.
    Reason(&'static str),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Variable(name) => write!(f, "{:?} is undefined", excerpt(name, MAX_NAME)),
            Missing::Attribute("NoneType", name) => {
                write!(f, "None has no attribute {:?}", excerpt(name, MAX_NAME))
            }
            Missing::Attribute(of, name) => {
                write!(f, "\"{of} object\" has no attribute {:?}", excerpt(name, MAX_NAME))
            }
            Missing::Parameter(name) => write!(f, "parameter {:?} was not provided", excerpt(name, MAX_NAME)),
            Missing::Reason(reason) => f.write_str(reason),
        }
    }
}

/// The values of a list or tuple.
#[derive(Debug, Default)]
pub(crate) struct Items {
    values: Vec<Value>,
    size: Size,
    hashable: bool,
    _held: Held,
}

/// The fields of a map.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map,
    size: Size,
    _held: Held,
}

/// How large a value is with all that it contains.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Values within one another.
    depth: usize,
    /// Units of fuel that going through it takes. A part counts as often as it occurs, so that it may be much more than
    /// what is in memory.
    weight: u64,
}

impl Size {
    /// Of a value with these parts.
    fn around<'a>(parts: impl Iterator<Item = &'a Value>) -> Size {
        parts.fold(Size { depth: 0, weight: 1 }, |size, part| Size {
            depth: size.depth.max(part.depth() + 1),
            weight: size.weight.saturating_add(part.weight()),
        })
    }
}

impl Items {
    pub(super) fn new(values: Vec<Value>, held: Held) -> Self {
        let size = Size::around(values.iter());
        Items { size, hashable: values.iter().all(Value::is_hashable), values, _held: held }
    }

    pub(super) fn depth(&self) -> usize {
        self.size.depth
    }
}

impl Fields {
    pub(super) fn new(map: Map, held: Held) -> Self {
        let size = Size::around(map.iter().flat_map(|(key, value)| [&key.0, value]));
        Fields { map, size, _held: held }
    }

    pub(super) fn depth(&self) -> usize {
        self.size.depth
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
    Method(Rc<Method>),
    /// A macro, and the scope that it was defined in.
    Macro(Arc<Macro>, usize),
    /// `cycler(...)`: its items and position; the method that is called, if any.
    Cycler(Rc<(Rc<Items>, Cell<usize>)>, &'static str),
    /// `joiner(...)`: its separator, and whether it was called.
    Joiner(Rc<(Text, Cell<bool>)>),
}

/// A method, and the value that it belongs to.
#[derive(Debug)]
pub(crate) struct Method {
    pub(super) value: Value,
    pub(super) name: Name,
    pub(super) _held: Held,
}

/// The state of a `for` loop in one iteration.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(super) items: Rc<Items>,
    pub(super) index: usize,
    pub(super) depth: usize,
    /// Its number among all loops.
    pub(super) id: usize,
    /// The loop and its scope, where it is recursive.
    pub(super) recursion: Option<(Arc<For>, usize)>,
    pub(super) _held: Held,
}

impl Value {
    /// A string of the template.
    pub(crate) fn own(text: impl Into<Arc<str>>) -> Value {
        Value::Str(Text::own(text))
    }

    pub(super) fn float(value: f64) -> Value {
        Value::Float(Float { value, digits: None })
    }

    /// A list of the input.
    pub(crate) fn input_list(values: Vec<Value>) -> Value {
        Value::List(Rc::new(Items::new(values, Held::default())))
    }

    /// A map of the input.
    pub(crate) fn input_map(map: Map) -> Value {
        Value::Map(Rc::new(Fields::new(map, Held::default())))
    }

    fn size(&self) -> Size {
        match self {
            Value::Str(text) => Size { depth: 0, weight: (1 + text.len() / BYTES_PER_UNIT) as u64 },
            Value::List(items) | Value::Tuple(items) => items.size,
            Value::Map(fields) => fields.size,
            // They are compared by identity, but keep others alive.
            Value::Loop(state) => Size { depth: state.items.depth() + 1, weight: 1 },
            Value::Function(Function::Cycler(state, _)) => Size { depth: state.0.depth() + 1, weight: 1 },
            Value::Function(Function::Method(method)) => Size { depth: method.value.depth() + 1, weight: 1 },
            // Nor do namespaces count for the depth: they are freed one by one.
            _ => Size { depth: 0, weight: 1 },
        }
    }

    /// How many values within one another are reached through it.
    pub(super) fn depth(&self) -> usize {
        self.size().depth
    }

    /// Units of fuel that going through it takes.
    pub(super) fn weight(&self) -> u64 {
        self.size().weight
    }

    pub(super) fn undefined(reason: &'static str) -> Value {
        Value::Undefined(Missing::Reason(reason))
    }

    /// The attribute or item `name` of `of`, which does not exist.
    pub(super) fn missing(of: &Value, name: Name) -> Value {
        Value::Undefined(Missing::Attribute(of.type_name(), name))
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
            Value::Tuple(items) => items.hashable,
            // It equals nothing, itself neither.
            Value::Float(float) => !float.value.is_nan(),
            _ => true,
        }
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
