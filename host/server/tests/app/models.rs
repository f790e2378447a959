//! `/v1/models`, several models in one process, `/health`, `/metrics` and the OpenAPI document.

use super::support::{call, get, metric, refused, router, send, source};
use axum::body::Body;
use edgellm::Model;
use edgellm::testing::{recipes, seeded_chat_model, with_quality};
use edgellm_server::{ApiKeys, ModelSource, OpenModel, Options, Server, ServerError, app};
use http::{Method, Request};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn models_are_listed() {
    let router = router().await;
    let list: Value = serde_json::from_str(&get(&router, "/v1/models").await.1).unwrap();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("seeded")));
    let card: Value = serde_json::from_str(&get(&router, "/v1/models/seeded").await.1).unwrap();
    assert_eq!(card, list["data"][0]);
    assert_eq!(card["context_length"], 2048);
    assert_eq!(get(&router, "/v1/models/other").await.0, 404);
    let body = json!({"model": "other", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(refused(&router, CHAT, body).await, (404, "model".into(), "model_not_found".into()));
}

#[tokio::test]
async fn a_model_says_what_rounding_cost_it() {
    let router = router().await;
    let card: Value = serde_json::from_str(&get(&router, "/v1/models/seeded").await.1).unwrap();
    assert_eq!(card["quality"], Value::Null, "its file does not say");
    let quality = json!({
        "text": "mine.txt", "tokens": 255, "source_perplexity": 20.5, "perplexity": 21.25, "kl_divergence": 0.0625,
        "same_top_token": 0.75,
        "calibration": {"method": "gptq", "data": "built in", "sha256": "00ff", "tokens": 65536}
    });
    let record = serde_json::from_value(quality.clone()).unwrap();
    let bytes = with_quality(&seeded_chat_model(recipes()[0], 1, None).unwrap(), record);
    let open = move || Ok(OpenModel::from(Model::from_bytes(bytes.clone())?));
    let measured = ModelSource { open: Box::new(open), ..source("measured", 1) };
    let server = Server::new(vec![measured], Options::default(), ApiKeys::default()).unwrap();
    let card =
        async || serde_json::from_str::<Value>(&get(&app(&server), "/v1/models/measured").await.1).unwrap();
    assert_eq!(card().await["quality"], Value::Null, "not in memory yet");
    server.load().await.unwrap();
    assert_eq!(card().await["quality"], quality);
}

#[tokio::test]
async fn one_makes_room_for_another() {
    let sources = || vec![source("a", 1), source("b", 2)];
    let ask = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "seed": 1});
    let both = Server::new(sources(), Options::default(), ApiKeys::default()).unwrap();
    both.load().await.unwrap();
    let both = app(&both);
    assert_eq!(metric(&both, "edgellm_models_loaded").await, 2.0);
    let one =
        Server::new(sources(), Options { max_loaded: 1, ..Options::default() }, ApiKeys::default()).unwrap();
    one.load().await.unwrap();
    let one = app(&one);
    for model in ["a", "b", "b", "a"] {
        let answer = call(&one, CHAT, ask(model)).await;
        assert_eq!(answer["choices"], call(&both, CHAT, ask(model)).await["choices"], "{model}");
        assert_eq!(answer["model"], model);
        assert_eq!(metric(&one, "edgellm_models_loaded").await, 1.0);
    }
    assert_ne!(call(&one, CHAT, ask("a")).await["choices"], call(&one, CHAT, ask("b")).await["choices"]);
}

#[tokio::test]
async fn health_tells_when_it_is_ready() {
    let server = Server::new(vec![source("a", 1)], Options::default(), ApiKeys::default()).unwrap();
    let router = app(&server);
    assert_eq!(get(&router, "/health").await, (503.try_into().unwrap(), r#"{"status":"loading"}"#.into()));
    server.load().await.unwrap();
    assert_eq!(get(&router, "/health").await, (200.try_into().unwrap(), r#"{"status":"ok"}"#.into()));
    let mut broken = source("a", 1);
    broken.open = Box::new(|| Err("the disk is on fire".into()));
    let server = Server::new(vec![broken], Options::default(), ApiKeys::default()).unwrap();
    assert!(server.load().await.is_err());
    assert_eq!(get(&app(&server), "/health").await.0, 503);
    // The reason is for the log, not for clients.
    let body = json!({"messages": [{"role": "user", "content": "x"}]});
    let (status, _, text) = send(&app(&server), super::support::post(CHAT, &body)).await;
    assert_eq!(status, 500);
    assert!(!text.contains("fire"), "{text}");
}

#[test]
fn servers_that_make_no_sense() {
    let new = |sources| Server::new(sources, Options::default(), ApiKeys::default()).map(|_| ());
    assert!(matches!(new(vec![]), Err(ServerError::NoModels)));
    assert!(matches!(new(vec![source("a", 1), source("a", 2)]), Err(ServerError::SameName(_))));
}

#[tokio::test]
async fn metrics_count() {
    let router = router().await;
    let body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 9});
    call(&router, CHAT, body).await;
    refused(&router, CHAT, json!({})).await;
    get(&router, "/made/up").await;
    let expected = [
        ("edgellm_requests_total{path=\"/v1/chat/completions\",status=\"200\"}", 1.0),
        ("edgellm_requests_total{path=\"/v1/chat/completions\",status=\"400\"}", 1.0),
        ("edgellm_requests_total{path=\"other\",status=\"404\"}", 1.0),
        ("edgellm_rejected_total{reason=\"invalid_request\"}", 1.0),
        ("edgellm_completion_tokens_total", 9.0),
        ("edgellm_sequences_finished_total{model=\"seeded\",reason=\"length\"}", 1.0),
        ("edgellm_time_to_first_token_seconds_count", 1.0),
        ("edgellm_inter_token_seconds_count", 8.0),
        ("edgellm_queue_depth", 0.0),
        ("edgellm_active_sequences", 0.0),
    ];
    for (name, value) in expected {
        super::support::wait_for(&router, name, value).await;
    }
    assert!(metric(&router, "edgellm_kv_cache_bytes").await > 0.0);
}

#[tokio::test]
async fn the_openapi_document_describes_what_there_is() {
    let router = router().await;
    let document: Value = serde_json::from_str(&get(&router, "/openapi.json").await.1).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let (status, _, text) = send(&router, request).await;
            assert!(![404, 405].contains(&status.as_u16()) || path.contains('{'), "{path}: {status} {text}");
        }
    }
    assert_eq!(paths.len(), 10);
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    assert!(get(&router, "/docs").await.1.contains("openapi.json"));
}
