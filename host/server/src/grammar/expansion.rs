//! What becomes of a schema when llguidance writes out references and intersects schemas: its size, before it is done.
//!
//! A reference beside other keywords is replaced by a copy of its target, and alternatives multiply, so that a few hundred
//! bytes can stand for gigabytes. This does the same steps on an outline of the schema, whose parts are shared rather than
//! copied, and adds up what would be.
//!
//! Sizes are in units that take llguidance about the same time: an object, a list or a choice is 4, a byte of a pattern 2, a
//! format 40, a multiple of n 3n, 32 bytes of a listed text 1, everything else 1.

use super::GrammarError;
use super::limits::{COUNTED_PROPERTIES, PATTERNS_AT_ONCE, PROPERTIES, SIZE, SIZES, WORK, check};
use super::multiple::Multiple;
use super::outline::{Form, Node, Object, Part, choice, leaf, list, listed, node, number, total};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The size of a schema that [`super::schema::read`] has read.
///
/// # Errors
/// If it is beyond a limit.
pub(super) fn size(schema: &Value) -> Result<usize, GrammarError> {
    let mut outline = Outline { root: schema, made: BTreeMap::new(), work: 0, size: 0 };
    let made = outline.schema(schema)?;
    outline.keep(&made)?;
    Ok(outline.size)
}

struct Outline<'a> {
    root: &'a Value,
    /// Definitions; none while it is being made.
    made: BTreeMap<&'a str, Option<Part<'a>>>,
    work: usize,
    size: usize,
}

/// Keywords that stand for schemas of their own, to be intersected with those before and after them.
const APPLICATORS: [&str; 6] = ["const", "enum", "allOf", "anyOf", "oneOf", "$ref"];

impl<'a> Outline<'a> {
    fn schema(&mut self, schema: &'a Value) -> Result<Part<'a>, GrammarError> {
        let Value::Object(fields) = schema else {
            return leaf(if *schema == Value::Bool(false) { Form::Never } else { Form::Any }, 1);
        };
        let mut result = leaf(Form::Any, 1)?;
        let mut pending: Vec<(&'a str, &'a Value)> = Vec::new();
        for (name, value) in fields {
            match name.as_str() {
                "$defs" => {}
                name if APPLICATORS.contains(&name) => {
                    result = self.plain(result, fields, &mut pending)?;
                    result = self.apply(result, name, value)?;
                }
                name => pending.push((name, value)),
            }
        }
        self.plain(result, fields, &mut pending)
    }

    fn apply(&mut self, result: Part<'a>, name: &str, value: &'a Value) -> Result<Part<'a>, GrammarError> {
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let other = match name {
            "const" => listed(value)?,
            "enum" => choice(all.iter().map(listed).collect::<Result<_, _>>()?)?,
            "$ref" => {
                let reference = value.as_str().unwrap_or_default();
                self.define(reference)?;
                leaf(Form::Reference(reference), 1)?
            }
            "allOf" => {
                return all.iter().try_fold(result, |result, schema| {
                    let schema = self.schema(schema)?;
                    self.intersect(&result, &schema, 0)
                });
            }
            _ => {
                let options: Vec<_> =
                    all.iter().map(|schema| self.schema(schema)).collect::<Result<_, _>>()?;
                if name == "oneOf" {
                    // All options are compared with each other.
                    let size = options.iter().fold(0, |size: usize, option| size.saturating_add(option.size));
                    self.pay(size.saturating_mul(options.len()))?;
                }
                choice(options)?
            }
        };
        self.intersect(&result, &other, 0)
    }

    /// Intersects with the keywords since the last applicator.
    fn plain(
        &mut self,
        result: Part<'a>,
        fields: &'a Map<String, Value>,
        pending: &mut Vec<(&'a str, &'a Value)>,
    ) -> Result<Part<'a>, GrammarError> {
        if pending.is_empty() {
            return Ok(result);
        }
        let group: BTreeMap<&str, &'a Value> = pending.drain(..).collect();
        let every = ["null", "boolean", "number", "string", "array", "object"];
        let types: Vec<&str> = match fields.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(some)) => some.iter().filter_map(Value::as_str).collect(),
            _ => every.to_vec(),
        };
        let typed = |kind: &&str| self.typed(kind, &group);
        let options = types.iter().map(typed).collect::<Result<_, _>>()?;
        let group = choice(options)?;
        self.intersect(&result, &group, 0)
    }

    fn typed(&mut self, kind: &str, group: &BTreeMap<&str, &'a Value>) -> Result<Part<'a>, GrammarError> {
        match kind {
            "null" => leaf(Form::Null, 1),
            "boolean" => leaf(Form::Boolean, 1),
            "string" => {
                let pattern = group.get("pattern").and_then(|pattern| pattern.as_str());
                let (pattern, format) =
                    (pattern.map(|pattern| 2 * pattern.len()), group.get("format").map(|_| 40));
                let patterns = usize::from(pattern.is_some()) + usize::from(format.is_some());
                leaf(Form::Text(patterns), 1 + pattern.unwrap_or(0) + format.unwrap_or(0))
            }
            "number" | "integer" => {
                number(group.get("multipleOf").map(|number| Multiple::of(number)).transpose()?)
            }
            "array" => {
                let schemas = |name: &str| group.get(name).and_then(|list| list.as_array());
                let first = schemas("prefixItems").or_else(|| schemas("items"));
                let first =
                    first.into_iter().flatten().map(|item| self.schema(item)).collect::<Result<_, _>>()?;
                let rest =
                    ["additionalItems", "items"].into_iter().filter_map(|name| group.get(name).copied());
                let rest = rest.filter(|rest| !rest.is_array()).map(|rest| self.schema(rest));
                // Which of them counts depends on the rest; here, the larger one does.
                let rest = rest.collect::<Result<Vec<_>, _>>()?.into_iter().max_by_key(|rest| rest.size);
                list(first, rest)
            }
            _ => self.object(group),
        }
    }

    fn object(&mut self, group: &BTreeMap<&str, &'a Value>) -> Result<Part<'a>, GrammarError> {
        let mut named = |name: &str| {
            let fields = group.get(name).and_then(|fields| fields.as_object()).into_iter().flatten();
            fields
                .map(|(name, schema)| Ok((name.as_str(), self.schema(schema)?)))
                .collect::<Result<BTreeMap<_, _>, GrammarError>>()
        };
        let (mut properties, patterns) = (named("properties")?, named("patternProperties")?);
        let rest = group.get("additionalProperties").map(|schema| self.schema(schema)).transpose()?;
        let required = group.get("required").and_then(|names| names.as_array()).into_iter().flatten();
        let counted = group.contains_key("minProperties") || group.contains_key("maxProperties");
        // A property may match a pattern; then it must match the pattern's schema, too.
        if let Some(largest) = patterns.values().map(|pattern| pattern.size).max() {
            for property in properties.values_mut() {
                self.pay(property.size.saturating_mul(largest))?;
                *property = Rc::new(Node {
                    form: Form::Choice(vec![Rc::clone(property)]),
                    size: property.size.saturating_mul(largest),
                    depth: property.depth + 1,
                });
            }
        }
        let required = required.filter_map(Value::as_str).collect();
        self.finished(Object { properties, patterns, rest, required, counted })
    }

    /// An object, within limits.
    fn finished(&mut self, object: Object<'a>) -> Result<Part<'a>, GrammarError> {
        let Object { properties, patterns, rest, required, counted } = &object;
        let undeclared = required.iter().filter(|name| !properties.contains_key(*name)).count();
        check("properties of an object", properties.len() + undeclared, PROPERTIES)?;
        let optional = properties.keys().filter(|name| !required.contains(*name)).count();
        if *counted {
            let what = "optional properties of an object with minProperties or maxProperties";
            check(what, optional, COUNTED_PROPERTIES)?;
        }
        // Patterns are compared with each other, by walking through their automata.
        self.pay(patterns.len() * patterns.len() * 500)?;
        let parts = properties.values().chain(patterns.values()).chain(rest);
        let names: usize = patterns.keys().map(|pattern| 2 * pattern.len()).sum::<usize>() + undeclared;
        let (size, depth) = total(parts);
        node(Form::Object(object), size.saturating_add(4 + names), depth)
    }

    fn define(&mut self, reference: &'a str) -> Result<(), GrammarError> {
        if self.made.contains_key(reference) {
            return Ok(());
        }
        self.made.insert(reference, None);
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target else { return Ok(()) };
        let part = self.schema(target)?;
        self.keep(&part)?;
        self.made.insert(reference, Some(part));
        Ok(())
    }

    fn intersect(&mut self, a: &Part<'a>, b: &Part<'a>, level: usize) -> Result<Part<'a>, GrammarError> {
        self.pay(1)?;
        check("levels of schemas that must match together", level, 128)?;
        match (&a.form, &b.form) {
            (Form::Any, _) | (_, Form::Never) => Ok(Rc::clone(b)),
            (_, Form::Any) | (Form::Never, _) => Ok(Rc::clone(a)),
            (Form::Reference(reference), _) => {
                let target = self.target(reference)?;
                self.intersect(&target, b, level + 2)
            }
            (_, Form::Reference(reference)) => {
                let target = self.target(reference)?;
                self.intersect(a, &target, level + 2)
            }
            (Form::Choice(options), _) => self.each(options, b, level),
            (_, Form::Choice(options)) => self.each(options, a, level),
            (Form::Null, Form::Null) | (Form::Boolean, Form::Boolean) => Ok(Rc::clone(a)),
            (Form::Text(some), Form::Text(more)) => {
                check(
                    "patterns, formats and listed texts that one text must match",
                    some + more,
                    PATTERNS_AT_ONCE,
                )?;
                leaf(Form::Text(some + more), a.size + b.size)
            }
            (Form::Number(one), Form::Number(other)) => number(match (one, other) {
                (Some(one), Some(other)) => Some(one.common(other)?),
                (one, other) => one.as_ref().or(other.as_ref()).copied(),
            }),
            (Form::List { first, rest }, Form::List { first: others, rest: other }) => {
                let mut both = Vec::new();
                for at in 0..first.len().max(others.len()) {
                    let one = first.get(at).or(rest.as_ref());
                    let another = others.get(at).or(other.as_ref());
                    both.extend(self.both(one, another, level)?);
                }
                let rest = self.both(rest.as_ref(), other.as_ref(), level)?;
                list(both, rest)
            }
            (Form::Object(one), Form::Object(other)) => self.merged(one, other, level),
            _ => leaf(Form::Never, 1),
        }
    }

    /// Intersects every option with a copy of `other`.
    fn each(
        &mut self,
        options: &[Part<'a>],
        other: &Part<'a>,
        level: usize,
    ) -> Result<Part<'a>, GrammarError> {
        let options = options.iter().map(|option| {
            self.pay(other.size)?;
            self.intersect(option, other, level + 1)
        });
        choice(options.collect::<Result<_, _>>()?)
    }

    /// Intersects copies of what there is of both.
    fn both(
        &mut self,
        one: Option<&Part<'a>>,
        other: Option<&Part<'a>>,
        level: usize,
    ) -> Result<Option<Part<'a>>, GrammarError> {
        let both = match (one, other) {
            (Some(one), Some(other)) => {
                self.pay(one.size.saturating_add(other.size))?;
                self.intersect(one, other, level + 1)?
            }
            (one, other) => match one.or(other) {
                Some(only) => Rc::clone(only),
                None => return Ok(None),
            },
        };
        Ok(Some(both))
    }

    fn merged(
        &mut self,
        one: &Object<'a>,
        other: &Object<'a>,
        level: usize,
    ) -> Result<Part<'a>, GrammarError> {
        // A property that one does not name must match the largest of what it says of unnamed ones.
        let unnamed = |object: &Object<'a>| {
            object.patterns.values().chain(&object.rest).max_by_key(|part| part.size).cloned()
        };
        let (rest_of_one, rest_of_other) = (unnamed(one), unnamed(other));
        let mut merge = |one: &BTreeMap<&'a str, Part<'a>>, other: &BTreeMap<&'a str, Part<'a>>| {
            let names: BTreeSet<&'a str> = one.keys().chain(other.keys()).copied().collect();
            let parts = names.into_iter().map(|name| {
                let one = one.get(name).or(rest_of_one.as_ref());
                let other = other.get(name).or(rest_of_other.as_ref());
                let both = self.both(one, other, level)?;
                Ok(both.map(|both| (name, both)))
            });
            parts.filter_map(Result::transpose).collect::<Result<BTreeMap<_, _>, GrammarError>>()
        };
        let properties = merge(&one.properties, &other.properties)?;
        let patterns = merge(&one.patterns, &other.patterns)?;
        let rest = self.both(one.rest.as_ref(), other.rest.as_ref(), level)?;
        let required = one.required.union(&other.required).copied().collect();
        let counted = one.counted || other.counted;
        self.finished(Object { properties, patterns, rest, required, counted })
    }

    /// A copy of a definition.
    fn target(&mut self, reference: &str) -> Result<Part<'a>, GrammarError> {
        let Some(Some(target)) = self.made.get(reference).map(Option::as_ref) else {
            let why =
                "a $ref that needs itself stands beside other keywords: move it into an allOf of its own";
            return Err(GrammarError::Unsupported(why.into()));
        };
        let target = Rc::clone(target);
        self.pay(target.size)?;
        Ok(target)
    }

    fn pay(&mut self, work: usize) -> Result<(), GrammarError> {
        self.work = self.work.saturating_add(work);
        check("steps to write out references, allOf and anyOf", self.work, WORK)
    }

    fn keep(&mut self, part: &Part<'a>) -> Result<(), GrammarError> {
        self.size = self.size.saturating_add(part.size);
        check(SIZES, self.size, SIZE)
    }
}
