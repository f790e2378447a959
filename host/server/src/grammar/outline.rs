//! The outline of a schema: its parts, shared rather than copied, with their sizes. See [`super::expansion`].

use super::GrammarError;
use super::limits::{LEVELS, PROPERTIES, SIZE, SIZES, check};
use super::multiple::Multiple;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A part of a schema.
pub(super) type Part<'a> = Rc<Node<'a>>;

/// What a part is, with its size and depth.
pub(super) struct Node<'a> {
    pub(super) form: Form<'a>,
    pub(super) size: usize,
    pub(super) depth: usize,
}

/// What values a part allows, as far as it matters here.
pub(super) enum Form<'a> {
    Any,
    Never,
    Null,
    Boolean,
    /// Patterns that it must match.
    Text(usize),
    Number(Option<Multiple>),
    List {
        first: Vec<Part<'a>>,
        rest: Option<Part<'a>>,
    },
    Object(Object<'a>),
    Choice(Vec<Part<'a>>),
    Reference(&'a str),
}

/// Properties by name, by pattern, and the others.
#[derive(Clone, Default)]
pub(super) struct Object<'a> {
    pub(super) properties: BTreeMap<&'a str, Part<'a>>,
    pub(super) patterns: BTreeMap<&'a str, Part<'a>>,
    pub(super) rest: Option<Part<'a>>,
    pub(super) required: BTreeSet<&'a str>,
    pub(super) counted: bool,
}

/// Size and depth of parts together.
pub(super) fn total<'p, 'a: 'p>(parts: impl Iterator<Item = &'p Part<'a>>) -> (usize, usize) {
    parts.fold((0, 0), |(size, depth), part| (size.saturating_add(part.size), depth.max(part.depth)))
}

/// A part whose own parts have this depth.
pub(super) fn node(form: Form<'_>, size: usize, depth: usize) -> Result<Part<'_>, GrammarError> {
    check("levels of a schema, references written out", depth + 1, LEVELS)?;
    check(SIZES, size, SIZE)?;
    Ok(Rc::new(Node { form, size, depth: depth + 1 }))
}

/// A part without parts.
pub(super) fn leaf(form: Form<'_>, size: usize) -> Result<Part<'_>, GrammarError> {
    node(form, size, 0)
}

/// Numbers.
pub(super) fn number<'a>(multiple: Option<Multiple>) -> Result<Part<'a>, GrammarError> {
    let size = multiple.map_or(0, |multiple| 3 * multiple.states());
    leaf(Form::Number(multiple), 1 + size)
}

/// Lists.
pub(super) fn list<'a>(first: Vec<Part<'a>>, rest: Option<Part<'a>>) -> Result<Part<'a>, GrammarError> {
    let (size, depth) = total(first.iter().chain(&rest));
    node(Form::List { first, rest }, size.saturating_add(4), depth)
}

/// What one of the options allows.
pub(super) fn choice(options: Vec<Part<'_>>) -> Result<Part<'_>, GrammarError> {
    let mut flat = Vec::new();
    for option in options {
        match &option.form {
            Form::Any => return Ok(option),
            Form::Never => {}
            Form::Choice(inner) => flat.extend(inner.iter().cloned()),
            _ => flat.push(option),
        }
    }
    if let [_] = flat[..] {
        return Ok(flat.swap_remove(0));
    }
    if flat.is_empty() {
        return leaf(Form::Never, 1);
    }
    let (size, depth) = total(flat.iter());
    node(Form::Choice(flat), size.saturating_add(4), depth)
}

/// A value of `enum` or `const`.
pub(super) fn listed(value: &Value) -> Result<Part<'_>, GrammarError> {
    match value {
        Value::Null => leaf(Form::Null, 1),
        Value::Bool(_) => leaf(Form::Boolean, 1),
        Value::Number(_) => number(None),
        Value::String(text) => leaf(Form::Text(1), 1 + text.len() / 32),
        Value::Array(items) => list(items.iter().map(listed).collect::<Result<_, _>>()?, None),
        Value::Object(fields) => {
            let mut properties = BTreeMap::new();
            for (name, value) in fields {
                properties.insert(name.as_str(), listed(value)?);
            }
            check("properties of an object", properties.len(), PROPERTIES)?;
            let (size, depth) = total(properties.values());
            let required = properties.keys().copied().collect();
            node(Form::Object(Object { properties, required, ..Object::default() }), size + 4, depth)
        }
    }
}
