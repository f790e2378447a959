//! Requests that make no sense: 400, and the name of the field.

use super::support::{post, refused, router, send, server};
use axum::body::Body;
use edgellm_server::{Limits, Options, app};
use http::{Method, Request};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn fields_are_named() {
    let router = router().await;
    let ask = |name: &str, value: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 1});
        body[name] = value;
        body
    };
    for (name, value) in [
        ("temperature", json!(-0.1)),
        ("temperature", json!(2.1)),
        ("temperature", json!("warm")),
        ("top_p", json!(1.5)),
        ("top_k", json!(-2)),
        ("min_p", json!(2)),
        ("n", json!(0)),
        ("n", json!(129)),
        ("n", json!(1.5)),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!(0)),
        ("max_tokens", json!(-5)),
        ("stop", json!("")),
        ("stop", json!(["a", ""])),
        ("stop", json!(7)),
        ("stop", json!(vec!["x"; 17])),
        ("seed", json!("x")),
        ("presence_penalty", json!(3)),
        ("frequency_penalty", json!(-3)),
        ("repetition_penalty", json!(0)),
        ("repeat_penalty", json!(101)),
        ("logit_bias", json!({"a": 1})),
        ("logit_bias", json!({"1": 101})),
        ("stream", json!("yes")),
        ("stream_options", json!(1)),
        ("logprobs", json!(3)),
        ("top_logprobs", json!(21)),
        ("top_logprobs", json!(2)),
        ("n_predict", json!(-2)),
        ("repeat_last_n", json!(-2)),
        ("ignore_eos", json!("no")),
        ("messages", json!([])),
        ("messages", json!("x")),
        ("messages", Value::Null),
        ("tools", json!({})),
        ("tool_choice", json!("sometimes")),
        ("tool_choice", json!("required")),
        ("response_format", json!("json")),
        ("response_format", json!(["text"])),
        ("response_format.type", json!({})),
        ("response_format.type", json!({"type": 0})),
        ("response_format.type", json!({"type": null})),
        ("response_format", json!({"type": "json_schema", "json_schema": 0})),
        ("model", json!(1)),
    ] {
        let field = name.split('.').next().unwrap();
        let (status, param, _) = refused(&router, CHAT, ask(field, value.clone())).await;
        assert_eq!((status, param.as_str()), (400, name), "{value}");
    }
    for (messages, param) in [
        (json!([{"role": "wizard", "content": "x"}]), "messages[0].role"),
        (json!([{"content": "x"}]), "messages[0].role"),
        (json!([{"role": "user"}]), "messages[0].content"),
        (json!([{"role": "user", "content": [{"type": "image_url", "text": ""}]}]), "messages[0].content"),
        (json!([{"role": "assistant", "tool_calls": [{}]}]), "messages[0].tool_calls[0].function"),
        (json!([{"role": "user", "content": "long".repeat(600)}]), "messages"),
    ] {
        assert_eq!(refused(&router, CHAT, ask("messages", messages)).await.1, param);
    }
    // Without effect, or already what happens.
    for (name, value) in [
        ("store", json!(true)),
        ("metadata", json!({"a": "b"})),
        ("service_tier", json!("flex")),
        ("made_up", json!([1])),
        ("mirostat", json!(0)),
        ("best_of", json!(1)),
    ] {
        let (status, _, text) = send(&router, post(CHAT, &ask(name, value))).await;
        assert_eq!(status, 200, "{name}: {text}");
    }
    for (path, body, name) in [
        (CHAT, ask("grammar", json!("root ::= \"a\"")), "grammar"),
        (CHAT, ask("min_tokens", json!(5)), "min_tokens"),
        (CHAT, ask("functions", json!([{"name": "f"}])), "functions"),
        ("/v1/completions", json!({"prompt": "a", "suffix": "b"}), "suffix"),
        ("/v1/completions", json!({"prompt": "a", "best_of": 3, "n": 2}), "best_of"),
        ("/v1/embeddings", json!({"input": "a", "embd_normalize": -1}), "embd_normalize"),
    ] {
        let found = refused(&router, path, body).await;
        assert_eq!(found, (400, name.into(), "unsupported_parameter".into()));
    }
    let mut both = ask("response_format", json!({"type": "json_object"}));
    both["json_schema"] = json!({"type": "object"});
    assert_eq!(refused(&router, CHAT, both).await.1, "json_schema");
    for name in ["temperature", "stop", "tools", "seed", "stream_options", "logit_bias", "response_format"] {
        let (status, _, text) = send(&router, post(CHAT, &ask(name, Value::Null))).await;
        assert_eq!(status, 200, "null is as good as nothing: {text}");
    }
    for (body, param) in [
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": [300]}), "prompt"),
        (json!({"prompt": [[1], []]}), "prompt"),
        (json!({"prompt": "a", "logprobs": 21}), "logprobs"),
        (json!({}), "prompt"),
        (json!({"prompt": ["a", "b"], "n": 128}), "n"),
    ] {
        assert_eq!(refused(&router, "/v1/completions", body).await.1, param);
    }
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let router = router().await;
    let long = format!("{{\"messages\": {}", "[".repeat(50_000));
    for body in ["", "{", "nonsense", "[]", "null", "{\"messages\": [}", "\u{0}", long.as_str()] {
        let request = Request::post(CHAT).body(Body::from(body.to_string())).unwrap();
        assert_eq!(send(&router, request).await.0, 400, "{body:.20}");
    }
    let request = Request::post(CHAT).body(Body::from(vec![b'{', b'"', 0xFF, 0xFE, b'"', b'}'])).unwrap();
    assert_eq!(send(&router, request).await.0, 400);
}

#[tokio::test]
async fn limits_of_the_server() {
    let options = Options { max_body: 1000, max_tokens: Some(5), max_choices: 2, ..Options::default() };
    let router = app(&server(options).await);
    let big = json!({"messages": [{"role": "user", "content": "x".repeat(2000)}]});
    assert_eq!(refused(&router, CHAT, big).await, (413, String::new(), "body_too_large".into()));
    let mut body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 6});
    assert_eq!(refused(&router, CHAT, body.clone()).await.1, "max_tokens");
    body.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(super::support::call(&router, CHAT, body.clone()).await["usage"]["completion_tokens"], 5);
    body["n"] = json!(3);
    assert_eq!(refused(&router, CHAT, body).await.1, "n");
    let small = Options { limits: Limits { kv_memory: 1 << 16, ..Limits::default() }, ..Options::default() };
    let body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 400});
    let (status, param, code) = refused(&app(&server(small).await), CHAT, body).await;
    assert_eq!((status, param.as_str(), code.as_str()), (400, "max_tokens", "request_too_large"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let router = router().await;
    assert_eq!(refused(&router, "/v1/images", json!({})).await, (404, String::new(), "not_found".into()));
    let request = Request::builder().method(Method::DELETE).uri(CHAT).body(Body::empty()).unwrap();
    let (status, headers, _) = send(&router, request).await;
    assert_eq!((status.as_u16(), headers["allow"].to_str().unwrap()), (405, "POST"));
    // No path leads to a file.
    for path in
        ["/../Cargo.toml", "/%2e%2e/etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd", "/docs/../openapi.json"]
    {
        assert_eq!(super::support::get(&router, path).await.0, 404, "{path}");
    }
}
