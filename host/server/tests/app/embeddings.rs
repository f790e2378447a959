//! `/v1/embeddings`.

use super::support::{call, metric, refused, router, server};
use base64::Engine as _;
use edgellm_server::{Limits, Options, app};
use serde_json::{Value, json};

const PATH: &str = "/v1/embeddings";

fn vector(value: &Value) -> Vec<f32> {
    value["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[tokio::test]
async fn vectors_of_length_one() {
    let router = router().await;
    let long = "a long text ".repeat(20);
    let many = call(&router, PATH, json!({"input": ["first", long, "first"]})).await;
    assert_eq!(many["usage"]["prompt_tokens"], 10 + long.len());
    let vectors: Vec<Vec<f32>> = many["data"].as_array().unwrap().iter().map(vector).collect();
    for vector in &vectors {
        assert_eq!(vector.len(), 96);
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    // Alone, as tokens and in base64: the same numbers.
    let tokens: Vec<u8> = "first".bytes().collect();
    let alone = call(&router, PATH, json!({"input": tokens, "model": "seeded", "dimensions": 96})).await;
    assert_eq!(vector(&alone["data"][0]), vectors[0]);
    let coded = call(&router, PATH, json!({"input": "first", "encoding_format": "base64"})).await;
    let text = coded["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let floats: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(floats, vectors[0]);
}

#[tokio::test]
async fn as_many_texts_as_with_openai() {
    // They do not take the places of other requests.
    let limits = Limits { queue: 5, ..Limits::default() };
    let router = app(&server(Options { limits, ..Options::default() }).await);
    let texts: Vec<String> = (0..2048).map(|index| format!("{index}")).collect();
    let many = tokio::spawn({
        let (router, body) = (router.clone(), json!({"input": texts, "encoding_format": "base64"}));
        async move { call(&router, PATH, body).await }
    });
    while metric(&router, "edgellm_active_sequences").await == 0.0 && !many.is_finished() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        call(&router, "/v1/completions", json!({"prompt": "a", "max_tokens": 1})).await;
    }
    let many = many.await.unwrap();
    let data = many["data"].as_array().unwrap();
    assert_eq!(data.len(), 2048);
    for index in [0, 1, 1000, 2047] {
        let alone = json!({"input": texts[index], "encoding_format": "base64"});
        assert_eq!(data[index]["index"], index);
        assert_eq!(data[index]["embedding"], call(&router, PATH, alone).await["data"][0]["embedding"]);
    }
    assert_eq!(many["usage"]["prompt_tokens"], texts.iter().map(String::len).sum::<usize>());
    assert_eq!(refused(&router, PATH, json!({"input": vec!["a"; 2049]})).await.1, "input");
    assert_eq!(refused(&router, PATH, json!({"input": vec![[1]; 2049]})).await.1, "input");
}

#[tokio::test]
async fn what_cannot_be_embedded() {
    let router = router().await;
    for (input, code) in [
        (json!(""), ""),
        (json!([]), ""),
        (json!([[]]), ""),
        (json!([999]), ""),
        (json!("x".repeat(2100)), "context_length_exceeded"),
    ] {
        assert_eq!(refused(&router, PATH, json!({"input": input})).await, (400, "input".into(), code.into()));
    }
    assert_eq!(refused(&router, PATH, json!({"input": "x", "dimensions": 3})).await.1, "dimensions");
    assert_eq!(refused(&router, PATH, json!({"input": [1, "x"]})).await.1, "input");
    assert_eq!(refused(&router, PATH, json!({})).await.1, "input");
}
