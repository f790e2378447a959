use super::*;
use crate::api::chat::ChatBody;
use crate::api::completions::CompletionBody;
use crate::api::embeddings::EmbeddingRequest;
use crate::api::models::{DetokenizeRequest, TokenizeRequest};
use crate::body::Text;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The field that a request is refused for.
fn refused<T: DeserializeOwned + Fields>(request: &Value) -> Option<String> {
    let error = Text::from(request.to_string()).read::<T>().map(|_| ()).err()?;
    let body = serde_json::to_value(error.body()).unwrap();
    Some(body["error"]["param"].as_str().unwrap_or("none").to_string())
}

fn with(request: &Value, field: &str, value: &Value) -> Value {
    let mut request = request.clone();
    request[field] = value.clone();
    request
}

#[test]
fn every_field_gets_what_its_verdict_says() {
    fn check<T: DeserializeOwned + Fields>(request: Value) {
        assert_eq!(refused::<T>(&request), None);
        // No field has all of these types.
        let odd = [
            json!([{"odd": [0.5]}]),
            json!("odd"),
            json!(-3.5),
            json!({"odd": 1}),
            json!(false),
            json!(true),
        ];
        for field in all::<T>() {
            let refused = |value: &Value| refused::<T>(&with(&request, field.name, value));
            match &field.verdict {
                // It is read, or a wrong type would not be noticed.
                Verdict::Implemented => {
                    let param = refused(&odd[0]).unwrap_or_default();
                    assert!(param.starts_with(field.name), "{}: {param:?}", field.name);
                }
                Verdict::NoEffect => {
                    for value in &odd {
                        assert_eq!(refused(value), None, "{}: {value}", field.name);
                    }
                }
                Verdict::Refused { .. } => {
                    let neutral = field.neutral().unwrap();
                    for value in &neutral {
                        assert_eq!(refused(value), None, "{}: {value}", field.name);
                    }
                    for value in odd.iter().filter(|value| !neutral.contains(value)) {
                        assert_eq!(refused(value).as_deref(), Some(field.name), "{value}");
                    }
                }
            }
        }
        assert_eq!(refused::<T>(&with(&request, "made_up", &json!([1]))), None, "unknown fields are ignored");
    }
    check::<ChatBody>(json!({"messages": []}));
    check::<CompletionBody>(json!({"prompt": "a"}));
    check::<EmbeddingRequest>(json!({"input": "a"}));
    check::<TokenizeRequest>(json!({"content": "a"}));
    check::<DetokenizeRequest>(json!({"tokens": []}));
}

#[test]
fn the_tables_hold_each_field_once_and_are_the_document() {
    let document = crate::openapi::document();
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api-reference.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let check = |schemas: &[&str], fields: Vec<&Field>| {
        let mut names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{schemas:?}");
        let properties = schemas.iter().flat_map(|schema| {
            document["components"]["schemas"][schema]["properties"].as_object().unwrap().keys()
        });
        let described: Vec<&String> = properties.collect();
        for name in &described {
            assert!(names.contains(&name.as_str()), "{schemas:?}: {name} has no verdict");
        }
        for field in fields {
            let expected = !matches!(field.verdict, Verdict::NoEffect);
            let found = described.iter().any(|name| *name == field.name);
            assert_eq!(found, expected, "{schemas:?}: {}", field.name);
            let named = [format!("`{}`", field.name), format!("`{}.", field.name)];
            assert!(
                named.iter().any(|name| reference.contains(name)),
                "api-reference.md lacks {}",
                field.name
            );
        }
    };
    macro_rules! check_fields {
        ($($request:ty: $schemas:expr),*) => { $(check(&$schemas, all::<$request>().collect());)* };
    }
    check_fields!(
        ChatBody: ["ChatRequest", "Sampling"],
        CompletionBody: ["CompletionRequest", "Sampling"],
        EmbeddingRequest: ["EmbeddingRequest"],
        TokenizeRequest: ["TokenizeRequest"],
        DetokenizeRequest: ["DetokenizeRequest"]
    );
}

#[test]
fn the_http_component_refuses_what_the_server_refuses() {
    let component = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wasm/component/http/src/request.rs");
    let component = std::fs::read_to_string(component).unwrap();
    for field in all::<ChatBody>().filter(|field| matches!(field.verdict, Verdict::Refused { .. })) {
        assert!(component.contains(&format!("(\"{}\", ", field.name)), "{}", field.name);
    }
}

#[test]
fn values_that_are_the_same() {
    let request = |field: &str, value: Value| with(&json!({"prompt": "a"}), field, &value);
    for (field, value) in [("best_of", json!(1.0)), ("mirostat", json!(0.0)), ("top_n_sigma", json!(-1))] {
        assert_eq!(refused::<CompletionBody>(&request(field, value)), None, "{field}");
    }
    for (field, value) in
        [("best_of", json!(2)), ("best_of", json!(true)), ("suffix", json!(" ")), ("best_of", json!("1"))]
    {
        assert_eq!(refused::<CompletionBody>(&request(field, value)).as_deref(), Some(field));
    }
    // The last of equal names counts, as for all fields.
    let twice = |first: u32, last: u32| {
        let body = format!(r#"{{"prompt": "a", "best_of": {first}, "best_of": {last}}}"#);
        Text::from(body).read::<CompletionBody>().is_ok()
    };
    assert!(twice(3, 1) && !twice(1, 3));
}
