//! Reads a schema as the client sent it, and writes what a grammar needs of it: known keywords only, within limits, every
//! reference to a definition of its own. So what is checked here is all that llguidance gets to see, and no `$id`, `$anchor`
//! or annotation leads it elsewhere.

use super::GrammarError;
use super::limits::{COUNT, DIGITS, LEVELS, PATTERN, check, exceeded};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// A schema within limits.
#[derive(Debug)]
pub(super) struct Schema {
    /// Its references are `#` or `#/$defs/0` and so on.
    pub(super) json: Value,
    /// The references of the definitions, as the client wrote them.
    pub(super) names: Vec<String>,
}

/// Reads a schema.
///
/// # Errors
/// If it is none, or too large.
pub(super) fn read(schema: &Value) -> Result<Schema, GrammarError> {
    let mut reader = Reader { root: schema, indices: HashMap::new(), names: Vec::new(), targets: Vec::new() };
    let mut levels = 0;
    let mut json = reader.schema(schema, 1, &mut levels)?;
    let mut definitions = Map::new();
    while let Some(&target) = reader.targets.get(definitions.len()) {
        let mut depth = 0;
        let definition = reader.schema(target, 1 + levels, &mut depth)?;
        levels = levels.max(depth);
        definitions.insert(definitions.len().to_string(), definition);
    }
    if !definitions.is_empty()
        && let Value::Object(fields) = &mut json
    {
        fields.insert("$defs".into(), Value::Object(definitions));
    }
    Ok(Schema { json, names: reader.names })
}

/// The client's name of a reference.
pub(super) fn name_of(reference: &str, names: &[String]) -> String {
    let index = reference.strip_prefix("#/$defs/").and_then(|index| index.parse::<usize>().ok());
    index.and_then(|index| names.get(index)).map_or(reference, String::as_str).to_string()
}

struct Reader<'a> {
    root: &'a Value,
    /// Index of the definition that a reference leads to.
    indices: HashMap<String, usize>,
    names: Vec<String>,
    targets: Vec<&'a Value>,
}

impl<'a> Reader<'a> {
    /// Copies a schema, which is at `level`, and raises `deepest` to the level of its deepest part.
    fn schema(
        &mut self,
        schema: &'a Value,
        level: usize,
        deepest: &mut usize,
    ) -> Result<Value, GrammarError> {
        check("levels of schemas inside of schemas, definitions included", level, LEVELS)?;
        *deepest = level.max(*deepest);
        let fields = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(fields) => fields,
            _ => return unsupported("a schema must be an object, true or false"),
        };
        let mut copied = Map::new();
        for (name, value) in fields {
            let value = match name.as_str() {
                "properties" | "patternProperties" => {
                    self.named(name == "patternProperties", value, level, deepest)?
                }
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => self.list(value, level, deepest)?,
                "items" if value.is_array() => self.list(value, level, deepest)?,
                "items" | "additionalItems" | "additionalProperties" => {
                    self.schema(value, level + 1, deepest)?
                }
                "$ref" => self.reference(value)?,
                "const" => value.clone(),
                "enum" if value.is_array() => value.clone(),
                "type" => types(value)?,
                "pattern" => pattern(value.as_str())?.into(),
                // llguidance does not know longer ones, and ignores those.
                "format" if value.as_str().is_some_and(|format| format.len() <= 32) => value.clone(),
                "required" if strings(value).is_some() => value.clone(),
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                    count(value)?
                }
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => bound(value)?,
                "multipleOf" if value.as_f64().is_some_and(|number| number != 0.0) => value.clone(),
                "enum" | "format" | "required" | "multipleOf" => {
                    return unsupported(&format!("{name} has a wrong value"));
                }
                _ => continue,
            };
            // Grammars make no difference between the two, but llguidance would compare all options with each other.
            let name = match name.as_str() {
                "oneOf" if !fields.contains_key("anyOf") => "anyOf",
                name => name,
            };
            copied.insert(name.into(), value);
        }
        Ok(Value::Object(copied))
    }

    fn named(
        &mut self,
        patterns: bool,
        value: &'a Value,
        level: usize,
        deepest: &mut usize,
    ) -> Result<Value, GrammarError> {
        let Some(fields) = value.as_object() else { return unsupported("properties must be an object") };
        let mut copied = Map::new();
        for (name, schema) in fields {
            if patterns {
                pattern(Some(name))?;
            }
            copied.insert(name.clone(), self.schema(schema, level + 1, deepest)?);
        }
        Ok(Value::Object(copied))
    }

    fn list(&mut self, value: &'a Value, level: usize, deepest: &mut usize) -> Result<Value, GrammarError> {
        let Some(schemas) = value.as_array() else { return unsupported("a list of schemas is no list") };
        schemas.iter().map(|schema| self.schema(schema, level + 1, deepest)).collect()
    }

    /// The reference to the definition that will be made of the target.
    fn reference(&mut self, value: &Value) -> Result<Value, GrammarError> {
        let Some(reference) = value.as_str() else { return unsupported("a $ref must be text") };
        // Some schemas write their own address before it.
        let own = ["$id", "id"].into_iter().find_map(|name| self.root.get(name)?.as_str());
        let own = own.map_or("", |own| own.trim_end_matches('#'));
        let pointer = reference.strip_prefix(own).unwrap_or(reference);
        let pointer = if pointer.is_empty() { Some("") } else { pointer.strip_prefix('#') };
        let pointer = pointer.map(decoded);
        let Some((pointer, target)) =
            pointer.and_then(|at| self.root.pointer(&at).map(|target| (at, target)))
        else {
            return unsupported(
                "a $ref leads nowhere: it must be # or a path into this schema, such as #/$defs/name",
            );
        };
        if pointer.is_empty() {
            return Ok(json!("#"));
        }
        let index = *self.indices.entry(pointer).or_insert_with(|| {
            self.names.push(reference.to_string());
            self.targets.push(target);
            self.targets.len() - 1
        });
        Ok(format!("#/$defs/{index}").into())
    }
}

/// A fragment without its percent escapes. What is no escape is kept.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The types of a schema, each once.
fn types(value: &Value) -> Result<Value, GrammarError> {
    let Some(all) = value.as_str().map(|one| vec![one]).or_else(|| strings(value)) else {
        return unsupported("type must be text or a list of texts");
    };
    let known = ["null", "boolean", "number", "integer", "string", "array", "object"];
    let mut once: Vec<&str> = Vec::new();
    for kind in all {
        if !known.contains(&kind) {
            return unsupported("an unknown type");
        }
        if !once.contains(&kind) {
            once.push(kind);
        }
    }
    Ok(if value.is_string() { value.clone() } else { json!(once) })
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn pattern(pattern: Option<&str>) -> Result<&str, GrammarError> {
    let Some(pattern) = pattern else { return unsupported("pattern must be text") };
    check("bytes in a pattern", pattern.len(), PATTERN)?;
    Ok(pattern)
}

fn count(value: &Value) -> Result<Value, GrammarError> {
    match value.as_u64() {
        Some(count) if count <= COUNT => Ok(value.clone()),
        Some(_) => Err(exceeded(
            "in minLength, maxLength, minItems, maxItems, minProperties and maxProperties",
            COUNT,
        )),
        None => unsupported("minLength, maxItems and their like must be integers from 0 on"),
    }
}

fn bound(value: &Value) -> Result<Value, GrammarError> {
    if value.is_boolean() {
        return Ok(value.clone());
    }
    let Some(number) = value.as_f64() else { return unsupported("minimum and maximum must be numbers") };
    check("digits in minimum and maximum", format!("{number}").len(), DIGITS)?;
    Ok(value.clone())
}

fn unsupported<T>(why: &str) -> Result<T, GrammarError> {
    Err(GrammarError::Unsupported(why.into()))
}
