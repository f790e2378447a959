//! Schemas that no finite JSON can match, because every value would have to contain another of its kind.
//!
//! A grammar for such a schema goes on until the answer is cut short. llguidance refuses other impossible schemas.

use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Work after which a schema counts as possible: in real ones, each reference is looked at a few times.
const BUDGET: usize = 1 << 20;

/// A reference of `schema` that only values without end could follow, where nothing else matches either.
pub(super) fn endless(schema: &Value) -> Option<String> {
    let mut references = BTreeSet::new();
    collect(schema, &mut references);
    let mut search = Search { finite: BTreeSet::new(), budget: Cell::new(BUDGET) };
    // Known to be finite: what needs no reference, then what needs only those, and so on.
    loop {
        let before = search.finite.len();
        for reference in &references {
            let target = reference.strip_prefix('#').and_then(|pointer| schema.pointer(pointer));
            // Those that lead elsewhere are llguidance's to judge.
            if !search.finite.contains(reference) && target.is_none_or(|target| search.matches(target)) {
                search.finite.insert(reference.clone());
            }
        }
        if search.finite.len() == before {
            break;
        }
    }
    let possible = search.matches(schema);
    references.into_iter().find(|reference| !possible && !search.finite.contains(reference))
}

/// All values of `$ref`.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_string));
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

struct Search {
    /// References with a finite match.
    finite: BTreeSet<String>,
    budget: Cell<usize>,
}

impl Search {
    /// Whether some finite value may match `schema`: no only where that is certain.
    fn matches(&self, schema: &Value) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        let Some(fields) = schema.as_object().filter(|_| left > 0) else { return true };
        let list =
            |name: &str| fields.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let some =
            |options: &[Value]| options.is_empty() || options.iter().any(|option| self.matches(option));
        fields.get("$ref").and_then(Value::as_str).is_none_or(|reference| self.finite.contains(reference))
            && list("allOf").iter().all(|part| self.matches(part))
            && some(list("anyOf"))
            && some(list("oneOf"))
            // Listed values are finite.
            && (fields.contains_key("enum")
                || fields.contains_key("const")
                || match only_type(fields) {
                    Some("object") => self.object(fields),
                    Some("array") => self.array(fields),
                    _ => true,
                })
    }

    fn object(&self, fields: &Map<String, Value>) -> bool {
        let required = fields.get("required").and_then(Value::as_array).into_iter().flatten();
        required.filter_map(Value::as_str).all(|name| {
            let property = fields.get("properties").and_then(|properties| properties.get(name));
            property.is_none_or(|property| self.matches(property))
        })
    }

    fn array(&self, fields: &Map<String, Value>) -> bool {
        let least = fields.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let least = usize::try_from(least).unwrap_or(usize::MAX);
        let first =
            fields.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        first.iter().take(least).all(|item| self.matches(item))
            && (least <= first.len() || fields.get("items").is_none_or(|item| self.matches(item)))
    }
}

/// The type of all values, if there is only one.
fn only_type(fields: &Map<String, Value>) -> Option<&str> {
    match fields.get("type")? {
        Value::Array(types) if types.len() == 1 => types[0].as_str(),
        one => one.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_contains_itself_without_end() {
        let object = |name: &str, schema: Value, required: bool| {
            let required = if required { json!([name]) } else { json!([]) };
            json!({"type": "object", "properties": {name: schema}, "required": required})
        };
        let own = json!({"$ref": "#"});
        assert_eq!(endless(&own), Some("#".into()));
        assert_eq!(endless(&object("a", own.clone(), true)), Some("#".into()));
        assert_eq!(endless(&object("a", own.clone(), false)), None);
        assert_eq!(endless(&object("a", json!({"anyOf": [own, {"type": "null"}]}), true)), None);
        assert!(endless(&object("a", json!({"anyOf": [own, {"$ref": "#"}]}), true)).is_some());
        assert!(endless(&object("a", json!({"allOf": [{"type": "object"}, own]}), true)).is_some());
        assert_eq!(endless(&object("a", json!({"enum": [1], "not": own}), true)), None);
        for (least, ends) in [(0, true), (1, false)] {
            let array = json!({"type": ["array"], "items": {"$ref": "#"}, "minItems": least});
            assert_eq!(endless(&array).is_none(), ends);
        }
        let pair = json!({"type": "array", "prefixItems": [{"type": "null"}, {"$ref": "#"}], "minItems": 1});
        assert_eq!(endless(&pair), None);
        // Two that need each other, in a schema that may do without them, and in one that may not.
        let each = |other: &str| object("x", json!({"$ref": format!("#/$defs/{other}")}), true);
        let mut schema = object("first", json!({"$ref": "#/$defs/a"}), false);
        schema["$defs"] = json!({"a": each("b"), "b": each("a")});
        assert_eq!(endless(&schema), None);
        schema["required"] = json!(["first"]);
        assert_eq!(endless(&schema), Some("#/$defs/a".into()));
        schema["$defs"]["b"] = json!({"type": "integer"});
        assert_eq!(endless(&schema), None);
        // A long chain, in the wrong order, and references that lead nowhere.
        let defs: Map<String, Value> =
            (0..300).map(|i| (format!("{i:03}"), each(&format!("{:03}", i + 1)))).collect();
        assert_eq!(endless(&json!({"$ref": "#/$defs/000", "$defs": defs})), None);
        assert_eq!(endless(&json!({"$ref": "https://example.com/schema"})), None);
    }
}
