//! Tests of grammars.

use super::*;
use edgellm::generate::Constraint as _;
use edgellm::testing::{recipes, seeded_model};
use serde_json::json;

/// A quarter of the stack that a server gives, unless EDGELLM_TEST_STACK names another, in KiB: scripts/stacks looks for the
/// smallest.
pub(super) fn stack() -> usize {
    std::env::var("EDGELLM_TEST_STACK").map_or(limits::STACK / 4, |kib| kib.parse::<usize>().unwrap() << 10)
}

fn grammars() -> Grammars {
    Grammars::new(&Model::from_bytes(seeded_model(recipes()[0], 1).unwrap()).unwrap()).unwrap()
}

/// Whether `text` can be written, and whether it may end there.
fn follows(shape: &Shape, text: &str) -> (bool, bool) {
    let mut constraint = grammars().constraint(shape).unwrap().unwrap();
    for byte in text.bytes() {
        let mut logits = vec![0.0; 256];
        constraint.mask(&mut logits).unwrap();
        if logits[usize::from(byte)] != 0.0 {
            return (false, false);
        }
        constraint.accept(byte.into()).unwrap();
    }
    let mut logits = vec![0.0; 256];
    constraint.mask(&mut logits).unwrap();
    // Token 0 ends the seeded models' answers.
    (true, logits[0] == 0.0)
}

fn tool(name: &str, parameters: Value) -> Tool {
    Tool { name: name.into(), parameters, sent: edgellm::chat::Json::Null }
}

#[test]
fn json_and_schemas() {
    let any = Shape { json: Some(json!({})), ..Shape::default() };
    assert_eq!(follows(&any, r#"{"a": [1, null]}"#), (true, true));
    assert_eq!(follows(&any, "[1]"), (false, false));
    // Compact JSON as well, but no other whitespace.
    assert_eq!(follows(&any, r#"{"a":[1,null],"b":{"c":2}}"#), (true, true));
    for whitespace in [r#"{"a":  1}"#, "{\"a\":\n1}", r#"{ "a": 1}"#, r#"{"a" : 1}"#, r#"{"a": [1,  2]}"#] {
        assert_eq!(follows(&any, whitespace), (false, false), "{whitespace}");
    }
    let schema = json!({"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"],
                        "additionalProperties": false, "$defs": {"n": {"type": "integer"}}});
    let shape = Shape { json: Some(schema), ..Shape::default() };
    assert_eq!(follows(&shape, r#"{"n": 12}"#), (true, true));
    assert_eq!(follows(&shape, r#"{"n": 1"#), (true, false));
    assert_eq!(follows(&shape, r#"{"n": ""#), (false, false));
    assert_eq!(follows(&shape, r#"{"m"#), (false, false));
}

#[test]
fn tools_may_or_must_be_called() {
    let schema = json!({"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"],
                        "additionalProperties": false});
    let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"at\": \"Rome\"}}\n</tool_call>";
    let tools = vec![tool("weather", schema), tool("time", json!({"type": "object"}))];
    let mut shape = Shape { tools, ..Shape::default() };
    assert_eq!(follows(&shape, "It rains."), (true, true));
    assert_eq!(follows(&shape, call), (true, true));
    assert_eq!(follows(&shape, &format!("Let me see. {call}")), (true, true));
    assert_eq!(follows(&shape, "<tool_call>\n{\"name\": \"rain"), (false, false));
    assert_eq!(follows(&shape, &call.replace("at\"", "to\"")), (false, false));
    shape.choice = ToolChoice::Required;
    assert_eq!(follows(&shape, "It"), (false, false));
    assert_eq!(follows(&shape, call), (true, true));
    assert_eq!(follows(&shape, &format!("{call}\n{call}")), (false, false));
    shape.parallel = true;
    assert_eq!(follows(&shape, &format!("{call}\n{call}")), (true, true));
    shape.choice = ToolChoice::Named("time".into());
    assert_eq!(follows(&shape, call), (false, false));
    shape.choice = ToolChoice::None;
    assert!(grammars().constraint(&shape).unwrap().is_none());
}

#[test]
fn json_or_tools() {
    let shape =
        Shape { json: Some(json!({"type": "array"})), tools: vec![tool("f", json!({}))], ..Shape::default() };
    assert_eq!(follows(&shape, "[1]"), (true, true));
    assert_eq!(
        follows(&shape, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"),
        (true, true)
    );
    assert_eq!(follows(&shape, "text"), (false, false));
}

#[test]
fn integers_may_be_beyond_64_bits() {
    let shape =
        |schema: Value| Shape { json: Some(json!({"type": "array", "items": schema})), ..Shape::default() };
    let one = shape(json!({"type": "integer", "minimum": 1e22, "maximum": 1e22}));
    assert_eq!(follows(&one, "[10000000000000000000000]"), (true, true));
    assert_eq!(follows(&one, "[9"), (false, false));
    let many = shape(json!({"anyOf": [{"type": "integer", "minimum": 2e22}]}));
    let error = grammars().constraint(&many).unwrap_err().to_string();
    assert!(error.contains("2e22"), "{error}");
    // Those within are as ever.
    let small = shape(json!({"type": "integer", "minimum": 5, "maximum": 1e30}));
    assert_eq!(follows(&small, "[17]"), (true, true));
}

#[test]
fn impossible_schemas_are_errors() {
    for schema in [
        json!({"type": "teapot"}),
        json!({"$ref": "#/nowhere"}),
        json!(3),
        json!({"type": "string", "pattern": "("}),
    ] {
        let shape = Shape { json: Some(schema.clone()), ..Shape::default() };
        assert!(grammars().constraint(&shape).is_err(), "{schema}");
    }
}

fn compile(schema: &Value) -> Result<Option<Constraint>, GrammarError> {
    grammars().constraint(&Shape { json: Some(schema.clone()), ..Shape::default() })
}

/// Definitions of which each refers to the next by what `link` makes of the reference.
fn chain(length: usize, link: impl Fn(Value) -> Value) -> Value {
    let mut definitions: serde_json::Map<String, Value> = (1..length)
        .map(|at| (format!("d{at}"), link(json!({"$ref": format!("#/$defs/d{}", at + 1)}))))
        .collect();
    definitions.insert(format!("d{length}"), json!({"type": "integer"}));
    json!({"$ref": "#/$defs/d1", "$defs": definitions})
}

type Link = (&'static str, usize, fn(Value) -> Value);

/// Every kind of nesting, with how many levels a definition has.
const LINKS: [Link; 14] = [
    ("$ref", 1, |to| to),
    ("description", 1, |mut to| {
        to["description"] = json!("a link");
        to
    }),
    ("siblings", 1, |mut to| {
        to["minimum"] = json!(1);
        to
    }),
    ("items", 2, |to| json!({"type": "array", "items": to})),
    ("items without a type", 2, |to| json!({"items": to})),
    ("prefixItems", 2, |to| json!({"prefixItems": [to]})),
    ("properties", 2, |to| json!({"type": "object", "properties": {"a": to}, "required": ["a"]})),
    ("additionalProperties", 2, |to| json!({"additionalProperties": to})),
    ("patternProperties", 2, |to| json!({"patternProperties": {"^x": to}})),
    ("anyOf", 2, |to| json!({"anyOf": [to, {"type": "null"}]})),
    ("oneOf", 2, |to| json!({"oneOf": [to, {"type": "null"}]})),
    ("allOf", 2, |to| json!({"allOf": [to, {"minimum": 0}]})),
    ("allOf of one", 2, |to| json!({"allOf": [to]})),
    ("if and then", 1, |mut to| {
        to["then"] = json!({"not": {"$ref": "#/$defs/d1"}});
        to
    }),
];

#[test]
fn every_kind_of_nesting_fits_the_stack_at_the_limit_and_is_refused_beyond_it() {
    // The root is a level, and definitions of two levels end in one of one level.
    for (name, levels, link) in LINKS {
        let most = if levels == 1 { limits::LEVELS - 1 } else { (limits::LEVELS - 2) / 2 + 1 };
        for (length, fits) in [(most, true), (most + 1, false)] {
            let compiled = compile(&chain(length, link));
            let too_deep = matches!(&compiled, Err(GrammarError::TooLarge { what, most })
                if what.starts_with("levels") && *most == limits::LEVELS as u64);
            assert_eq!(too_deep, !fits, "{name} {length}: {compiled:?}");
            // Answers follow it on threads with ordinary stacks.
            if let Ok(Some(mut constraint)) = compiled {
                constraint.mask(&mut vec![0.0; 256]).unwrap();
            }
        }
    }
    // Without references, as deep as JSON can be. A schema that contains itself is as deep as it is written.
    for (name, levels, link) in LINKS {
        if levels == 2 {
            let nested = (0..60).fold(json!({"type": "integer"}), |inner, _| link(inner));
            assert!(compile(&nested).is_ok(), "{name}");
        }
    }
    let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
                      "additionalProperties": false});
    assert!(compile(&tree).is_ok());
    let shape = Shape { json: Some(tree), ..Shape::default() };
    assert_eq!(follows(&shape, r#"{"children": [{"children": []}, {}]}"#), (true, true));
}

#[test]
fn what_a_few_bytes_stand_for_counts() {
    let both = |to: Value| json!({"type": "object", "properties": {"a": to, "b": to}});
    let with_sibling = |mut to: Value| {
        to["minProperties"] = json!(0);
        to
    };
    let text = |more: Value| json!({"type": "object", "properties": {"a": more}});
    let choices = |count: usize| {
        let choice = |at: usize| json!({"anyOf": [text(json!({"minLength": at})), {"properties": {at.to_string(): {}}}]});
        json!({"allOf": (0..count).map(choice).collect::<Vec<_>>()})
    };
    let many = |count: usize| {
        (0..count).map(|at| (format!("p{at}"), json!({"type": "null"}))).collect::<serde_json::Map<_, _>>()
    };
    let list = |from: usize| json!({"enum": (from..from + 30_000).collect::<Vec<_>>()});
    let consts = |count: usize| (0..count).map(|at| json!({"const": at})).collect::<Vec<_>>();
    for alone in [
        json!({"oneOf": consts(1000)}),
        json!({"anyOf": [{"type": "integer"}], "enum": (0..1000).collect::<Vec<_>>()}),
    ] {
        assert!(compile(&alone).is_ok(), "nothing to compare");
    }
    let deep = |levels: usize| {
        (0..levels).fold(json!({"type": "integer"}), |inner, _| json!({"type": "array", "items": inner}))
    };
    for (name, limit, schema) in [
        ("doubling by siblings", "parts", chain(30, |to| both(with_sibling(to)))),
        ("doubling by allOf", "steps", chain(30, |to| json!({"allOf": [both(to.clone()), both(to)]}))),
        // Only beside anyOf: alone, it is read as anyOf.
        (
            "options that are compared with each other",
            "steps",
            json!({"anyOf": [{"type": "integer"}], "oneOf": consts(1000)}),
        ),
        ("squares by siblings", "parts", chain(240, |to| text(with_sibling(to)))),
        ("products of choices", "steps", choices(40)),
        (
            "many patterns at once",
            "one text must match",
            json!({"allOf": (0..50).map(|at| json!({"pattern": format!("a{{{at}}}b[a-z]*")})).collect::<Vec<_>>()}),
        ),
        (
            "optional properties, counted",
            "optional properties",
            json!({"type": "object", "properties": many(300), "minProperties": 1, "additionalProperties": false}),
        ),
        ("properties", "properties of an object", json!({"type": "object", "properties": many(1001)})),
        (
            "long pattern",
            "bytes in a pattern",
            text(json!({"type": "string", "pattern": "[^ab]*".repeat(16_000)})),
        ),
        (
            "name by a long pattern",
            "bytes in a pattern",
            json!({"patternProperties": {"[^ab]*".repeat(16_000): {}}}),
        ),
        (
            "many patterns",
            "parts",
            json!({"properties": (0..60).map(|at| (at.to_string(), json!({"pattern": "[^ab]*".repeat(160)}))).collect::<serde_json::Map<_, _>>()}),
        ),
        ("multipleOf", "in multipleOf", text(json!({"type": "integer", "multipleOf": 99_999_989}))),
        (
            "multiples of several",
            "common multiple",
            json!({"type": "integer", "allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}]}),
        ),
        ("multipleOf of many places", "decimal places", json!({"type": "number", "multipleOf": 1e-7})),
        (
            "many multiples",
            "parts",
            json!({"properties": (0..10).map(|at| (at.to_string(), json!({"type": "integer", "multipleOf": 9900 + at}))).collect::<serde_json::Map<_, _>>()}),
        ),
        (
            "formats",
            "parts",
            json!({"prefixItems": vec![json!({"properties": (0..900).map(|at| (at.to_string(), json!({"format": "date"}))).collect::<serde_json::Map<_, _>>()}); 3]}),
        ),
        (
            "definitions together",
            "parts",
            json!({"properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/b"}, "c": {"$ref": "#/$defs/c"}},
                   "$defs": {"a": list(0), "b": list(1), "c": list(2)}}),
        ),
        (
            "deep lists that match together",
            "levels of schemas that must match",
            json!({"allOf": [deep(200), deep(200)]}),
        ),
        ("counts", "in minLength", text(json!({"type": "string", "maxLength": u64::MAX}))),
        ("digits", "digits", json!({"type": "number", "maximum": 1e300})),
        ("enum", "parts", json!({"enum": (0..100_000).collect::<Vec<_>>()})),
        (
            "enum of long texts",
            "parts",
            json!({"enum": (0..100).map(|at| at.to_string().repeat(50_000)).collect::<Vec<_>>()}),
        ),
        (
            "properties that match patterns",
            "steps",
            json!({"properties": {"a": {"enum": consts(1000)}}, "patternProperties": {"^a": {"enum": consts(1000)}}}),
        ),
        (
            "copies of a definition",
            "steps",
            json!({"anyOf": vec![json!({"allOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}); 1000],
                   "$defs": {"a": {"type": "object", "properties": many(900), "required": ["p1"]}}}),
        ),
        (
            "patterned names",
            "steps",
            json!({"patternProperties": (0..40).map(|at| (format!("^{at}x"), json!({}))).collect::<serde_json::Map<_, _>>()}),
        ),
    ] {
        let error = compile(&schema).unwrap_err();
        let expected = matches!(error, GrammarError::TooLarge { what, .. } if what.contains(limit));
        assert!(expected, "{name}: {error}");
    }
    // All schemas of a request together.
    let tools = (0..3).map(|at| tool(&format!("f{at}"), list(at))).collect();
    let error = grammars().constraint(&Shape { tools, ..Shape::default() }).unwrap_err();
    assert!(matches!(error, GrammarError::TooLarge { what, .. } if what.contains("parts")), "{error}");
    // References to oneself beside other keywords, and those that lead out of the schema or nowhere.
    let own = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a", "minimum": 1}}});
    for schema in [
        own,
        json!({"$ref": "https://example.com/a"}),
        json!({"$ref": "#a", "$defs": {"a": {"$anchor": "a"}}}),
    ] {
        assert!(compile(&schema).is_err(), "{schema}");
    }
}

#[test]
fn symbols_are_counted() {
    let properties: serde_json::Map<_, _> =
        (0..900).map(|at| (format!("p{at}"), json!({"type": "null"}))).collect();
    let objects =
        vec![json!({"type": "object", "properties": properties, "additionalProperties": false}); 12];
    let error = compile(&json!({"prefixItems": objects})).unwrap_err();
    assert!(matches!(&error, GrammarError::Unsupported(why) if why.contains("symbols")), "{error}");
}

#[test]
fn large_schemas_of_this_world_compile() {
    let property = |at: usize| match at % 4 {
        0 => {
            json!({"type": "string", "enum": (0..10).map(|n| format!("option {n}")).collect::<Vec<_>>(), "description": "d".repeat(200)})
        }
        1 => json!({"type": "integer", "minimum": 0, "maximum": 1000, "multipleOf": 5}),
        2 => json!({"type": "array", "items": {"type": "string", "format": "date-time"}, "maxItems": 20}),
        _ => json!({"type": ["string", "null"], "pattern": "^[A-Z]{2,5}-[0-9]+$", "maxLength": 40}),
    };
    let parameters = |_| {
        let properties: serde_json::Map<_, _> =
            (0..10).map(|at| (format!("field_{at}"), property(at))).collect();
        json!({"type": "object", "properties": properties, "required": ["field_0"], "additionalProperties": false})
    };
    let tools = (0..128).map(|at| tool(&format!("function_{at}"), parameters(at))).collect();
    assert!(grammars().constraint(&Shape { tools, ..Shape::default() }).is_ok());
    let words: Vec<_> = (0..5000).map(|at| format!("a value whose number is {at}")).collect();
    assert!(compile(&json!({"type": "string", "enum": words})).is_ok());
    let list = (0..20).fold(
        property(3),
        |inner, _| json!({"type": "array", "items": {"type": "object", "properties": {"a": inner}}}),
    );
    assert!(compile(&list).is_ok());
    // References are found by percent escapes, escaped slashes and the schema's own address.
    let named = json!({"$id": "https://example.com/s", "type": "array",
                       "prefixItems": [{"$ref": "#/$defs/a%20b"}, {"$ref": "https://example.com/s#/$defs/c~1d"}],
                       "minItems": 2, "maxItems": 2,
                       "$defs": {"a b": {"const": 1}, "c/d": {"const": 2}}});
    assert_eq!(follows(&Shape { json: Some(named), ..Shape::default() }, "[1, 2]"), (true, true));
    // What inherits, with a list of itself.
    let node =
        json!({"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/node"}}}});
    let inherits = json!({"allOf": [{"$ref": "#/$defs/node"}, {"properties": {"x": {"type": "null"}}, "required": ["x"]}],
                          "$defs": {"node": node}});
    assert_eq!(
        follows(&Shape { json: Some(inherits), ..Shape::default() }, r#"{"of": [{"of": []}], "x": null}"#),
        (true, true)
    );
}

#[test]
fn answers_share_a_grammar_and_each_goes_its_own_way() {
    let shape = Shape { json: Some(json!({"enum": ["ab", "cd"]})), ..Shape::default() };
    let compiled = grammars().constraint(&shape).unwrap().unwrap();
    let mut choices = [compiled.clone(), compiled];
    for (choice, text) in choices.iter_mut().zip(["\"ab\"", "\"cd\""]) {
        for byte in text.bytes() {
            let mut logits = vec![0.0; 256];
            choice.mask(&mut logits).unwrap();
            assert_eq!(logits[usize::from(byte)], 0.0, "{text}");
            choice.accept(byte.into()).unwrap();
        }
    }
}

#[test]
fn an_automaton_that_explodes_ends_the_answer_without_words_of_the_library() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "a.{1000}b"}}, "required": ["a"]});
    let mut constraint = compile(&schema).unwrap().unwrap();
    for byte in "{\"a\": \"".bytes() {
        constraint.accept(byte.into()).unwrap();
    }
    let mut random = 1u32;
    for _ in 0..200_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let byte = if random >> 31 == 0 { b'a' } else { b'c' };
        if let Err(error) = constraint.mask(&mut vec![0.0; 256]).and_then(|()| constraint.accept(byte.into()))
        {
            assert_eq!(error.to_string(), "the grammar allows no further token, or is too complex to follow");
            return;
        }
    }
    panic!("it has no limit");
}
