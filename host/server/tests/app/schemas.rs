//! Answers that follow a schema, in each of the fields that ask for it, and schemas that no answer can follow.

use super::support::{call, get, post, refused, router, send};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn ask(path: &str, more: Value) -> Value {
    let mut body = json!({"max_tokens": 60, "seed": 7, "temperature": 1});
    match path {
        CHAT => body["messages"] = json!([{"role": "user", "content": "hi"}]),
        _ => body["prompt"] = json!("hi"),
    }
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn each_field_constrains_the_answer() {
    let router = router().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"],
                        "additionalProperties": false});
    let list = json!({"type": "array", "items": {"enum": ["x", "yy"]}, "minItems": 2, "maxItems": 2});
    for path in [CHAT, COMPLETIONS] {
        for schema in [&schema, &list] {
            for field in [
                json!({"response_format": {"type": "json_object", "schema": schema}}),
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema, "strict": false}}}),
                json!({"json_schema": schema}),
                json!({"json_schema": schema, "response_format": {"type": "text"}}),
            ] {
                let answer = call(&router, path, ask(path, field.clone())).await;
                let choice = &answer["choices"][0];
                let text = choice["text"].as_str().or(choice["message"]["content"].as_str()).unwrap();
                let value: Value = serde_json::from_str(text).unwrap();
                assert_eq!(value.is_array(), *schema == list, "{field}: {value}");
                assert!(
                    value["a"].is_boolean() || value.as_array().is_some_and(|list| list.len() == 2),
                    "{value}"
                );
            }
        }
        // Any object, where there is no schema.
        for format in [json!({"type": "json_object"}), json!({"type": "json_object", "schema": null})] {
            let answer = call(&router, path, ask(path, json!({"response_format": format}))).await;
            let choice = &answer["choices"][0];
            let text = choice["text"].as_str().or(choice["message"]["content"].as_str()).unwrap();
            assert!(text.starts_with('{'), "{text}");
        }
    }
}

#[tokio::test]
async fn dead_ends_are_the_requests_fault() {
    let router = router().await;
    let object = |a: Value| json!({"type": "object", "properties": {"a": a}, "required": ["a"], "additionalProperties": false});
    let own = json!({"$ref": "#"});
    for schema in [
        own.clone(),
        object(own.clone()),
        json!({"anyOf": [own, object(json!({"$ref": "#"}))]}),
        json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1}),
        object(json!({"type": "string", "minLength": 3, "maxLength": 2})),
        object(json!({"type": "integer", "minimum": 3, "maximum": 2})),
        object(json!({"type": "integer", "minimum": 1, "maximum": 2, "multipleOf": 7})),
        object(json!({"type": "string", "pattern": "^b$", "minLength": 3})),
        object(json!({"allOf": [{"type": "string"}, {"type": "integer"}]})),
        object(json!({"enum": []})),
        object(json!({"$ref": "#/$defs/nowhere"})),
        json!({"type": "string", "pattern": "("}),
        json!({"type": "string", "pattern": "(?=a)b"}),
        json!({"type": "teapot"}),
        json!({"properties": 3}),
    ] {
        let tools =
            json!([{"type": "function", "function": {"name": "f", "parameters": object(schema.clone())}}]);
        for (path, field, body) in [
            (
                CHAT,
                "response_format",
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
            ),
            (COMPLETIONS, "json_schema", json!({"json_schema": schema})),
            (CHAT, "tools", json!({"tools": tools, "tool_choice": "required"})),
        ] {
            let (status, _, text) = send(&router, post(path, &ask(path, body))).await;
            // A reference to the root means another schema there.
            if field == "tools" && schema.to_string().contains("\"#\"") {
                continue;
            }
            assert_eq!(status, 400, "{field} {schema}: {text}");
            let answer: Value = serde_json::from_str(&text).unwrap();
            let message = answer["error"]["message"].as_str().unwrap();
            println!("{schema}: {message}");
            assert!([json!(field), Value::Null].contains(&answer["error"]["param"]), "{text}");
            for inside in
                ["\n", "<state>", "verbose", "at 1(", "at 2(", "panic", "%json", "NoExtension", "derivre"]
            {
                assert!(!message.contains(inside), "{schema}: {message}");
            }
        }
    }
}

#[tokio::test]
async fn dead_ends_on_the_way() {
    let router = router().await;
    // The only first token is forbidden, or one of those after it.
    for token in ["123", "97"] {
        let constant = json!({"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": false});
        let body =
            ask(COMPLETIONS, json!({"json_schema": constant, "logit_bias": {token: -100}, "temperature": 0}));
        let (status, _, text) = send(&router, post(COMPLETIONS, &body)).await;
        assert_eq!(status, 400, "{text}");
        let error = &serde_json::from_str::<Value>(&text).unwrap()["error"];
        assert_eq!(error["code"], "schema_dead_end");
        assert!(error["message"].as_str().unwrap().ends_with("simplify them"), "{error}");
    }
}

/// Definitions of which each refers to the next.
fn chain(length: usize, link: fn(Value) -> Value) -> Value {
    let mut definitions: serde_json::Map<String, Value> = (1..length)
        .map(|at| (format!("d{at}"), link(json!({"$ref": format!("#/$defs/d{}", at + 1)}))))
        .collect();
    definitions.insert(format!("d{length}"), json!({"type": "integer"}));
    json!({"$ref": "#/$defs/d1", "$defs": definitions})
}

/// An object that holds the target twice, beside another keyword, so that it is copied.
fn doubled(mut to: Value) -> Value {
    to["minProperties"] = json!(0);
    json!({"type": "object", "properties": {"a": to, "b": to}})
}

#[tokio::test]
async fn hostile_schemas_are_refused_by_limit() {
    let router = router().await;
    let text = |more: Value| json!({"type": "object", "properties": {"a": more}});
    for (schema, limit) in [
        (chain(1000, |to| to), "500 levels"),
        (chain(1000, |to| json!({"anyOf": [to, {"description": "none", "type": "null"}]})), "500 levels"),
        (chain(400, |to| json!({"type": "array", "items": to})), "500 levels"),
        (chain(40, doubled), "at most"),
        (text(json!({"type": "string", "pattern": "[^ab]*".repeat(20_000)})), "1000 bytes in a pattern"),
        (text(json!({"type": "integer", "multipleOf": 99_999_989})), "10000 in multipleOf"),
        (text(json!({"type": "string", "minLength": u64::MAX})), "2147483647 in minLength"),
        (json!({"enum": (0..100_000).collect::<Vec<_>>()}), "80000 parts"),
    ] {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": text(schema.clone())}});
        let mut bodies = vec![("json_schema", json!({"json_schema": schema}))];
        // There, references lead elsewhere, and what is long is longer than the context first.
        if schema.get("$defs").is_none() && schema.to_string().len() < 200 {
            bodies.push(("tools", json!({"tools": [tool], "tool_choice": "required"})));
        }
        for (field, body) in bodies {
            let (status, _, answer) = send(&router, post(CHAT, &ask(CHAT, body))).await;
            assert_eq!(status, 400, "{answer}");
            let error = &serde_json::from_str::<Value>(&answer).unwrap()["error"];
            assert_eq!(error["param"], field);
            assert!(error["message"].as_str().unwrap().contains(limit), "{limit}: {error}");
        }
    }
    let tool = |at: usize| json!({"type": "function", "function": {"name": format!("f{at}")}});
    let tools: Vec<Value> = (0..257).map(tool).collect();
    let answer = refused(&router, CHAT, ask(CHAT, json!({"tools": tools}))).await;
    assert_eq!((answer.0, answer.1.as_str()), (400, "tools"));
}

#[tokio::test]
async fn stops_and_biases_are_bounded_as_the_document_says() {
    let router = router().await;
    let document: Value = serde_json::from_str(&get(&router, "/openapi.json").await.1).unwrap();
    let limit = |at: &str| {
        let most = document.pointer(&format!("/components/schemas/Sampling/properties/{at}"));
        usize::try_from(most.and_then(Value::as_u64).unwrap()).unwrap()
    };
    let (length, texts) = (limit("stop/oneOf/1/maxLength"), limit("stop/oneOf/2/maxItems"));
    assert_eq!(limit("stop/oneOf/2/items/maxLength"), length);
    let biases =
        |count: usize| (0..count).map(|id| (id.to_string(), json!(1))).collect::<serde_json::Map<_, _>>();
    for (field, wrong, right) in [
        ("stop", json!(vec!["x".repeat(length + 1)]), json!(vec!["x".repeat(length); texts])),
        ("stop", json!("é".repeat(length + 1)), json!("é".repeat(length))),
        ("stop", json!(vec!["x"; texts + 1]), json!("x".repeat(length))),
        ("logit_bias", json!(biases(257)), json!(biases(256))),
    ] {
        for path in [CHAT, COMPLETIONS] {
            let answer = refused(&router, path, ask(path, json!({field: wrong}))).await;
            assert_eq!((answer.0, answer.1.as_str()), (400, field));
            call(&router, path, ask(path, json!({field: right}))).await;
        }
    }
}
