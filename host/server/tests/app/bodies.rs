//! Request bodies: compressed ones, and those that break off.

use super::support::{router, send, server};
use axum::Router;
use axum::body::Body;
use edgellm_server::{Options, app};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use serde_json::{Value, json};
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post(router: &Router, encoding: &str, body: Vec<u8>) -> (u16, Value) {
    let request =
        Request::post("/tokenize").header("content-encoding", encoding).body(Body::from(body)).unwrap();
    let (status, _, text) = send(router, request).await;
    (status.as_u16(), serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn gzip_is_read() {
    let router = router().await;
    let body = json!({"content": "zip"}).to_string().into_bytes();
    let halves = [gzip(&body[..5]), gzip(&body[5..])].concat();
    for (encoding, bytes) in [
        ("gzip", gzip(&body)),
        ("GZIP", gzip(&body)),
        ("identity, x-gzip", gzip(&body)),
        ("gzip", halves),
        ("identity", body.clone()),
    ] {
        assert_eq!(
            post(&router, encoding, bytes).await,
            (200, json!({"tokens": [122, 105, 112]})),
            "{encoding}"
        );
    }
    for encoding in ["deflate", "br", "zstd", "gzip, gzip"] {
        let (status, answer) = post(&router, encoding, gzip(&body)).await;
        assert_eq!((status, &answer["error"]["code"]), (415, &json!("unsupported_encoding")), "{encoding}");
    }
    let zipped = gzip(&body);
    for broken in [body.clone(), zipped[..zipped.len() / 2].to_vec(), Vec::new()] {
        let (status, answer) = post(&router, "gzip", broken).await;
        assert_eq!(status, 400);
        assert!(answer["error"]["message"].as_str().unwrap().contains("gzip"), "{answer}");
    }
}

#[tokio::test]
async fn the_limit_counts_what_comes_out() {
    let router = app(&server(Options { max_body: 1000, ..Options::default() }).await);
    let long = json!({"content": "a".repeat(100_000)}).to_string();
    let bomb = gzip(long.as_bytes());
    assert!(bomb.len() < 1000);
    let (status, answer) = post(&router, "gzip", bomb).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("body_too_large")));
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let router = router().await;
    for body in ["{", "{\"content\": \"a", "{\"content\": \"a\"", ""] {
        let (status, answer) = post(&router, "identity", body.into()).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(status, 400);
        assert!(message.contains("JSON") && !message.contains('\u{1f}'), "{message}");
    }
}
