//! `/v1/completions`.

use super::support::{call, router, send, stream};
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

const PATH: &str = "/v1/completions";

#[tokio::test]
async fn prompts_of_all_kinds() {
    let router = router().await;
    let one = call(&router, PATH, json!({"prompt": "abc", "max_tokens": 8, "seed": 3})).await;
    assert_eq!(one["object"], "text_completion");
    let tokens = call(&router, PATH, json!({"prompt": [97, 98, 99], "max_tokens": 8, "seed": 3})).await;
    assert_eq!(one["choices"], tokens["choices"]);
    let many = json!({"prompt": ["abc", "xyz"], "max_tokens": 8, "seed": 3, "n": 2});
    let many = call(&router, PATH, many).await;
    assert_eq!(many["choices"].as_array().unwrap().len(), 4);
    assert_eq!(many["choices"][0]["text"], one["choices"][0]["text"]);
    assert_eq!(many["usage"]["prompt_tokens"], 6);
    let xyz = call(&router, PATH, json!({"prompt": [[120, 121, 122]], "max_tokens": 8, "seed": 3})).await;
    assert_eq!(many["choices"][2]["text"], xyz["choices"][0]["text"]);
    let echo = json!({"prompt": "abc", "max_tokens": 8, "seed": 3, "echo": true});
    let echoed = call(&router, PATH, echo.clone()).await;
    assert_eq!(echoed["choices"][0]["text"], format!("abc{}", one["choices"][0]["text"].as_str().unwrap()));
    let pieces = stream(&router, PATH, echo).await;
    let joined: String = pieces.iter().filter_map(|piece| piece["choices"][0]["text"].as_str()).collect();
    assert_eq!(joined, echoed["choices"][0]["text"].as_str().unwrap());
}

#[tokio::test]
async fn bodies_as_clients_write_them() {
    let router = router().await;
    let plain =
        json!({"prompt": [97, 98], "max_tokens": 4, "seed": 3, "repetition_penalty": 1.5, "top_k": 0});
    let expected = call(&router, PATH, plain).await["choices"].clone();
    for body in [
        r#"{"prompt": [97.0, 98], "max_tokens": 4.0, "seed": 3, "repetition_penalty": 1.5, "repeat_penalty": 1, "top_k": -1}"#,
        r#"{"prompt": "x", "prompt": "ab", "max_tokens": 4, "seed": 2, "seed": 3, "repeat_penalty": 1.5, "top_k": 0,
            "stop": null, "echo": null, "logprobs": null, "json_schema": null, "stream_options": {"include_usage": null}}"#,
        "\u{feff}{\"prompt\": \"ab\", \"max_completion_tokens\": 4, \"max_tokens\": -1, \"seed\": 3, \"top_k\": -1,
            \"repeat_penalty\": 1.5, \"repetition_penalty\": null, \"unknown\": [NaN, {\"a\": null}]}",
    ] {
        let (status, _, text) = send(&router, Request::post(PATH).body(Body::from(body)).unwrap()).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["choices"], expected, "{body}");
    }
    // Without a limit: as many as the context has room for.
    let unlimited = json!({"prompt": "ab", "max_tokens": -1, "temperature": 0, "seed": -1});
    let tokens = call(&router, PATH, unlimited).await["usage"]["completion_tokens"].as_u64().unwrap();
    let usual = call(&router, PATH, json!({"prompt": "ab", "temperature": 0})).await;
    assert_eq!(usual["usage"]["completion_tokens"], tokens);
}

#[tokio::test]
async fn stops_and_biases() {
    let router = router().await;
    let forced = |more: Value| {
        let mut body = json!({"prompt": "a", "max_tokens": 6, "temperature": 0, "logit_bias": {"120": 100}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let text = |answer: Value| answer["choices"][0]["text"].as_str().unwrap().to_string();
    assert_eq!(text(call(&router, PATH, forced(json!({}))).await), "xxxxxx");
    let stopped = call(&router, PATH, forced(json!({"stop": "xxx"}))).await;
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(stopped["usage"]["completion_tokens"], 3);
    assert_eq!(text(stopped), "");
    let both = forced(json!({"stop": ["y", "xxxxx"], "stream": false}));
    assert_eq!(text(call(&router, PATH, both).await), "");
    // The token that ends an answer, with nothing after it.
    let ended = call(&router, PATH, forced(json!({"logit_bias": {"0": 100}}))).await;
    assert_eq!(
        (&ended["choices"][0]["finish_reason"], &ended["choices"][0]["text"]),
        (&json!("stop"), &json!(""))
    );
    let goes_on = call(&router, PATH, forced(json!({"logit_bias": {"0": 100}, "ignore_eos": true}))).await;
    assert_eq!(goes_on["choices"][0]["finish_reason"], "length");
    assert_eq!(goes_on["usage"]["completion_tokens"], 6);
    // How far the penalties look back: "x" is the best token as long as it is not among the recent ones.
    let penalized = |last: i64| {
        let more = json!({"prompt": "x", "max_tokens": 1, "logit_bias": {"120": 100, "121": 99},
            "presence_penalty": 2, "repeat_last_n": last});
        forced(more)
    };
    assert_eq!(text(call(&router, PATH, penalized(0)).await), "x");
    assert_eq!(text(call(&router, PATH, penalized(1)).await), "y");
    assert_eq!(text(call(&router, PATH, penalized(-1)).await), "y");
    // llama.cpp's limit, which gives way to OpenAI's.
    assert_eq!(text(call(&router, PATH, forced(json!({"max_tokens": null, "n_predict": 2}))).await), "xx");
    assert_eq!(text(call(&router, PATH, forced(json!({"max_tokens": 3, "n_predict": 2}))).await), "xxx");
    assert_eq!(text(call(&router, PATH, forced(json!({"max_tokens": 3, "n_predict": -1}))).await), "xxx");
    // Penalties and the other options change the answer, and are taken.
    let plain = call(&router, PATH, json!({"prompt": "aaaa", "max_tokens": 20, "seed": 1})).await;
    for (name, value) in [
        ("presence_penalty", json!(2.0)),
        ("frequency_penalty", json!(2)),
        ("repetition_penalty", json!(9.5)),
        ("top_k", json!(1)),
        ("top_p", json!(0.01)),
        ("min_p", json!(0.9)),
        ("temperature", json!(0)),
    ] {
        let mut body = json!({"prompt": "aaaa", "max_tokens": 20, "seed": 1});
        body[name] = value;
        assert_ne!(call(&router, PATH, body).await["choices"], plain["choices"], "{name}");
    }
}

#[tokio::test]
async fn log_probabilities_and_schemas() {
    let router = router().await;
    let answer =
        call(&router, PATH, json!({"prompt": "a", "max_tokens": 5, "logprobs": 2, "temperature": 0})).await;
    let logprobs = &answer["choices"][0]["logprobs"];
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[name].as_array().unwrap().len(), 5, "{name}");
    }
    let body = json!({"prompt": "a", "max_tokens": 50, "json_schema": {"enum": ["red", "green"]}});
    let answer = call(&router, PATH, body).await;
    assert!(["\"red\"", "\"green\""].contains(&answer["choices"][0]["text"].as_str().unwrap()));
}
