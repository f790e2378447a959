//! Work before admission: bounded by bytes, tokens and time, in turns, and over when its client leaves.

use super::support::{TEMPLATE, call, metric, post, refused, router, send, server, source, wait_for};
use axum::Router;
use axum::body::{Body, Bytes};
use edgellm::Model;
use edgellm::testing::{recipes, seeded_chat_model};
use edgellm_server::{ApiKeys, Limits, ModelSource, OpenModel, Options, Server, app};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;

const CHAT: &str = "/v1/chat/completions";
const RUNNING: &str = "edgellm_preparations_running";
const WAITING: &str = "edgellm_preparations_waiting";
const GIVEN_UP: &str = "edgellm_preparations_given_up_total";

/// Two megabytes to tokenize, of texts that each fit into the context. One client may send 16 of them at once.
fn heavy() -> Value {
    json!({"input": vec!["a".repeat(2000); 1000]})
}

/// Waits until a metric has at least this value.
async fn reached(router: &Router, name: &str, value: f64) {
    for _ in 0..10_000 {
        if metric(router, name).await >= value {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{name} did not reach {value}");
}

/// The same request from the client at this address.
fn from(client: &str, path: &str, body: &Value) -> Request<Body> {
    let mut request = post(path, body);
    request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
    request
}

/// Sends the request of a client.
fn spawn(router: &Router, request: Request<Body>) -> JoinHandle<(StatusCode, HeaderMap, String)> {
    let router = router.clone();
    tokio::spawn(async move { send(&router, request).await })
}

/// The error code of an answer.
fn code(text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap();
    answer["error"]["code"].as_str().unwrap_or_default().to_string()
}

async fn with_clients(options: Options) -> Router {
    app(&server(Options { trust_proxy: true, ..options }).await)
}

#[tokio::test]
async fn texts_that_cannot_fit_are_refused() {
    let router = router().await;
    // Shorter than the longest word that is tokenized at all.
    let long = "7".repeat(1_000_000);
    let message = json!([{"role": "user", "content": long}]);
    for (path, body, param) in [
        (CHAT, json!({"messages": message}), "messages"),
        ("/v1/completions", json!({"prompt": long}), "prompt"),
        ("/v1/completions", json!({"prompt": ["a", long]}), "prompt"),
        ("/v1/embeddings", json!({"input": long}), "input"),
        // Few enough bytes, but too many tokens.
        ("/v1/completions", json!({"prompt": "7".repeat(2048)}), "prompt"),
    ] {
        let found = refused(&router, path, body).await;
        assert_eq!(found, (400, param.into(), "context_length_exceeded".into()), "{path}");
    }
    let fits = json!({"prompt": "7".repeat(2047), "max_tokens": 1});
    call(&router, "/v1/completions", fits).await;
    let (tokenize, detokenize) = ("/tokenize", "/detokenize");
    for (path, body, param) in [
        (tokenize, json!({"content": "a".repeat((1 << 20) + 1)}), "content"),
        (tokenize, json!({"content": "a".repeat((1 << 18) + 1)}), "content"),
        (tokenize, json!({"content": "a".repeat((1 << 18) + 1), "parse_special": false}), "content"),
        (detokenize, json!({"tokens": vec![97; (1 << 18) + 1]}), "tokens"),
    ] {
        assert_eq!(refused(&router, path, body).await, (400, param.into(), "text_too_long".into()), "{path}");
    }
    let most = call(&router, tokenize, json!({"content": "a".repeat(1 << 18)})).await;
    assert_eq!(call(&router, detokenize, most).await["content"], "a".repeat(1 << 18));
}

#[tokio::test]
async fn a_text_of_too_many_bytes_is_not_even_split() {
    // Here every byte has a token, so that the bytes tell how many tokens there are at least.
    let open = || {
        let bytes = seeded_chat_model(recipes()[0], 5, Some(TEMPLATE))?;
        Ok(OpenModel::from(Model::from_bytes(bytes)?))
    };
    let model = ModelSource { open: Box::new(open), ..source("seeded", 5) };
    let server = Server::new(vec![model], Options::default(), ApiKeys::default()).unwrap();
    server.load().await.unwrap();
    let long = post("/v1/completions", &json!({"prompt": "7".repeat(1_000_000)}));
    let (status, _, text) = send(&app(&server), long).await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (400, "context_length_exceeded"));
    assert!(text.contains(" bytes,"), "{text}");
}

#[tokio::test]
async fn bodies_that_grow_in_memory_are_refused() {
    let router = router().await;
    let fill = |start: &str, item: &str, end: &str| {
        let items = vec![item; 4_000_000 / (item.len() + 1)].join(",");
        format!("{start}{items}{end}")
    };
    for body in [
        fill("{\"messages\": [", "[]", "]}"),
        fill("{\"messages\": [], \"x\": [", "{}", "]}"),
        fill("{\"input\": [", "[0]", "]}"),
        fill("{\"prompt\": [", "\"\"", "]}"),
        fill("{\"tokens\": [", "{\"\":{}}", "]}"),
        fill("[", "1", ""),
    ] {
        for path in [CHAT, "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"] {
            let (status, _, text) =
                send(&router, Request::post(path).body(body.clone().into()).unwrap()).await;
            assert_eq!((status.as_u16(), code(&text).as_str()), (413, "body_too_complex"), "{body:.30}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work() {
    let router = router().await;
    let requests: Vec<_> = (0..6).map(|_| spawn(&router, post("/v1/embeddings", &heavy()))).collect();
    reached(&router, RUNNING, 1.0).await;
    requests.iter().for_each(JoinHandle::abort);
    wait_for(&router, RUNNING, 0.0).await;
    assert_eq!(metric(&router, WAITING).await, 0.0);
    assert!(metric(&router, GIVEN_UP).await >= 1.0);
    assert_eq!(metric(&router, "edgellm_active_sequences").await, 0.0);
    call(&router, "/v1/completions", json!({"prompt": "a", "max_tokens": 1})).await;
}

#[tokio::test]
async fn clients_take_turns() {
    let router = with_clients(Options::default()).await;
    let many: Vec<_> =
        (0..16).map(|_| spawn(&router, from("10.0.0.1", "/v1/embeddings", &heavy()))).collect();
    reached(&router, WAITING, 8.0).await;
    let small = json!({"content": "a"});
    for client in ["10.0.0.2", "10.0.0.3"] {
        assert_eq!(send(&router, from(client, "/tokenize", &small)).await.0, 200);
    }
    // Both were answered while the first client's requests still wait.
    assert!(metric(&router, WAITING).await > 0.0);
    many.iter().for_each(JoinHandle::abort);
    wait_for(&router, RUNNING, 0.0).await;
}

#[tokio::test]
async fn preparations_that_wait_count_in_the_queue() {
    let limits = Limits { queue: 4, ..Limits::default() };
    let router = with_clients(Options { limits, ..Options::default() }).await;
    let mut many: Vec<_> =
        (0..16).map(|_| spawn(&router, from("10.0.0.1", "/v1/embeddings", &heavy()))).collect();
    reached(&router, "edgellm_rejected_total{reason=\"queue_full\"}", 1.0).await;
    let small = from("10.0.0.2", "/tokenize", &json!({"content": "a"}));
    assert_eq!(send(&router, small).await.0, 200);
    while let Some(at) = many.iter().position(JoinHandle::is_finished) {
        let (status, headers, text) = many.swap_remove(at).await.unwrap();
        assert_eq!((status.as_u16(), code(&text).as_str()), (503, "queue_full"), "{text}");
        assert_eq!(headers["retry-after"], "2");
    }
    assert!(many.len() < 16);
    many.iter().for_each(JoinHandle::abort);
    wait_for(&router, RUNNING, 0.0).await;
}

#[tokio::test]
async fn preparation_has_a_time_limit() {
    assert_eq!(Options::default().preparation_timeout, Duration::from_secs(10), "as docs/security.md says");
    let millisecond = Duration::from_millis(1);
    let slow = app(&server(Options { preparation_timeout: millisecond, ..Options::default() }).await);
    let (status, _, text) = send(&slow, post("/v1/embeddings", &heavy())).await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (400, "preparation_timeout"), "{text}");
    let late = app(&server(Options { request_timeout: millisecond, ..Options::default() }).await);
    let (status, headers, text) = send(&late, post("/v1/embeddings", &heavy())).await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (503, "timeout"), "{text}");
    assert!(headers.contains_key("retry-after"));
    for router in [slow, late] {
        wait_for(&router, RUNNING, 0.0).await;
    }
}

/// A body of which `size` bytes arrive, and then nothing.
struct Stalled(usize);

impl http_body::Body for Stalled {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0 == 0 {
            return std::task::Poll::Pending;
        }
        let size = std::mem::take(&mut self.0);
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; size])))))
    }
}

#[tokio::test]
async fn one_client_has_half_of_the_memory_for_bodies() {
    let router = with_clients(Options::default()).await;
    let stalled = |client: &str| {
        let mut request = Request::post(CHAT).body(Body::new(Stalled(4_000_000))).unwrap();
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        request
    };
    // Half of 64 MiB, less 1.5 MB.
    let held: Vec<_> = (0..8).map(|_| spawn(&router, stalled("10.0.0.1"))).collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let (status, headers, text) = send(&router, stalled("10.0.0.1")).await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (503, "body_memory"));
    assert!(headers.contains_key("retry-after"));
    // Small requests of the same client, and large ones of others, are answered.
    for (client, content) in [("10.0.0.1", "a".to_string()), ("10.0.0.2", "a".repeat(2_000_000))] {
        let large = from(client, "/v1/completions", &json!({"prompt": "a", "max_tokens": 1, "x": content}));
        assert_eq!(send(&router, large).await.0, 200);
    }
    held.iter().for_each(JoinHandle::abort);
    for task in held {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let large = from(
        "10.0.0.1",
        "/v1/completions",
        &json!({"prompt": "a", "max_tokens": 1, "x": "a".repeat(1_000_000)}),
    );
    assert_eq!(send(&router, large).await.0, 200);
}
