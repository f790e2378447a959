//! Corners of HTTP/1.1: each request is answered or refused cleanly, and others are not affected.

use super::sockets::{HEALTH, exchange, is_refused, is_well, start};
use super::support::server;
use edgellm_server::Options;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BODY: &str = r#"{"content": "abc"}"#;
const TOKENS: &str = r#"{"tokens":[97,98,99]}"#;

/// A request to `/tokenize` with these headers, and this body as it is.
fn tokenize(headers: &str, body: &str) -> String {
    format!("POST /tokenize HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n{body}")
}

/// `text` in chunks of `size` bytes.
fn chunked(text: &str, size: usize) -> String {
    let chunks = text
        .as_bytes()
        .chunks(size)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    chunks.collect::<String>() + "0\r\n"
}

#[tokio::test]
async fn requests_come_in_many_forms() {
    let (address, end, task) = start(server(Options::default()).await).await;
    let length = format!("content-length: {}\r\n", BODY.len());
    let chunks = "transfer-encoding: chunked\r\n";
    for (name, request) in [
        ("plain", tokenize(&length, BODY)),
        ("another type", tokenize(&format!("{length}content-type: text/plain\r\n"), BODY)),
        ("expecting", tokenize(&format!("{length}expect: 100-continue\r\n"), BODY)),
        ("chunked", tokenize(chunks, &(chunked(BODY, 1) + "\r\n"))),
        ("trailers", tokenize(chunks, &(chunked(BODY, 5) + "host: evil.example\r\nx: y\r\n\r\n"))),
        ("upgrade", tokenize(&format!("{length}upgrade: websocket\r\n"), BODY)),
        ("HTTP/2", tokenize(&format!("{length}upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"), BODY)),
        ("absolute", tokenize(&length, BODY).replace("/tokenize", "http://localhost/tokenize")),
    ] {
        let answer = exchange(address, &request).await;
        assert!(answer.contains("HTTP/1.1 200") && answer.ends_with(TOKENS), "{name}: {answer}");
    }
    let old = exchange(address, "GET /health HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200") && old.ends_with("{\"status\":\"ok\"}"), "{old}");
    let head = exchange(address, &HEALTH.replace("GET", "HEAD")).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    // Answers to requests in one piece come in their order.
    let many = format!("{}{HEALTH}", "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50));
    let answers = exchange(address, &many).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 51, "{answers}");
    assert!(answers.ends_with("{\"status\":\"ok\"}"), "{answers}");
    end.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let (address, end, task) = start(server(Options::default()).await).await;
    let host = "host: localhost\r\nconnection: close\r\n";
    for (request, status, code) in [
        ("GET /health HTTP/1.1\r\nconnection: close\r\n\r\n".to_string(), 400, "invalid_host"),
        (format!("GET /health HTTP/1.1\r\n{host}host: localhost\r\n\r\n"), 400, "invalid_host"),
        (format!("GET http://evil.example/ HTTP/1.1\r\n{host}\r\n"), 400, "invalid_host"),
        (format!("CONNECT localhost:80 HTTP/1.1\r\n{host}\r\n"), 404, "not_found"),
        (format!("GET * HTTP/1.1\r\n{host}\r\n"), 404, "not_found"),
        (format!("GET /v1/models/%ff HTTP/1.1\r\n{host}\r\n"), 400, "invalid_path"),
        (format!("GET /health HTTP/9.9\r\n{host}\r\n"), 400, "invalid_http"),
        (format!("GET /health HTTP/1.1\r\n{host}a b: c\r\n\r\n"), 400, "invalid_http"),
        (tokenize("content-length: 1\r\ncontent-length: 2\r\n", "{}"), 400, "invalid_http"),
        (tokenize("content-length: -1\r\n", ""), 400, "invalid_http"),
        (tokenize("transfer-encoding: gzip\r\n", ""), 400, "invalid_http"),
        (tokenize("content-length: 5000000\r\n", ""), 413, "body_too_large"),
        (tokenize("content-length: 5000000\r\n", &"x".repeat(5_000_000)), 413, "body_too_large"),
        (
            tokenize("transfer-encoding: chunked\r\n", &chunked(&"x".repeat(5_000_000), 50_000)),
            413,
            "body_too_large",
        ),
        (tokenize("content-length: 9\r\ncontent-encoding: br\r\n", "{}"), 415, "unsupported_encoding"),
    ] {
        is_refused(&exchange(address, &request).await, status, code);
    }
    // After a good request, too.
    let answers = exchange(address, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nnonsense\r\n\r\n").await;
    let (good, bad) = answers.split_once("HTTP/1.1 400").unwrap();
    assert!(good.starts_with("HTTP/1.1 200"), "{answers}");
    is_refused(&format!("HTTP/1.1 400{bad}"), 400, "invalid_http");
    // Chunks that are none: the body breaks off.
    let answer = exchange(address, &tokenize("transfer-encoding: chunked\r\n", "x\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("cannot be read"), "{answer}");
    // The preface of HTTP/2 ends the connection.
    assert!(exchange(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.len() < 1000);
    is_well(address).await;
    end.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_gone() {
    let (address, end, task) = start(server(Options::default()).await).await;
    let body = r#"{"prompt": "a", "stream": true, "logit_bias": {"0": -100}}"#;
    let length = body.len();
    let request =
        format!("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    for part in [&request[..5], &request[..request.len() - 5], &request] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        assert!(read.await.is_ok(), "the connection stays open after {part}");
    }
    is_well(address).await;
    end.send(()).unwrap();
    task.await.unwrap();
}
