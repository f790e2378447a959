//! Many requests at once: answers stay what they are alone, and nothing is left behind.

use super::support::{call, metric, post, send, server, server_with, wait_for};
use axum::Router;
use axum::body::Body;
use edgellm_server::{Limits, Options, app};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt as _;

const CHAT: &str = "/v1/chat/completions";

fn ask(index: usize) -> Value {
    let content = format!("Question {index}: {}", "why? ".repeat(index * 7 % 40));
    json!({"messages": [{"role": "user", "content": content}], "seed": index, "max_tokens": 20 + index * 3})
}

/// An endless answer that has begun.
async fn begin(router: &Router) -> Body {
    let body = json!({"prompt": "a", "stream": true, "logit_bias": {"0": -100}});
    let response = router.clone().oneshot(post("/v1/completions", &body)).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

#[tokio::test]
async fn many_at_once_are_as_each_alone() {
    let options = Options {
        limits: Limits { parallel: 6, prefill_chunk: 16, ..Limits::default() },
        ..Options::default()
    };
    let router = app(&server(options).await);
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..24 {
        let router = router.clone();
        tasks.spawn(async move { (index, call(&router, CHAT, ask(index)).await) });
    }
    let together = tasks.join_all().await;
    let alone = app(&server(Options {
        limits: Limits { prefix_memory: 0, parallel: 1, ..Limits::default() },
        ..Options::default()
    })
    .await);
    for (index, answer) in together {
        assert_eq!(answer["choices"], call(&alone, CHAT, ask(index)).await["choices"], "{index}");
    }
    wait_for(&router, "edgellm_active_sequences", 0.0).await;
    assert_eq!(metric(&router, "edgellm_queue_depth").await, 0.0);
}

#[tokio::test]
async fn a_client_that_goes_away_is_forgotten_at_once() {
    let router =
        app(&server(Options { limits: Limits { parallel: 2, ..Limits::default() }, ..Options::default() })
            .await);
    let mut bodies = vec![begin(&router).await, begin(&router).await];
    for body in &mut bodies {
        assert!(body.frame().await.is_some());
    }
    wait_for(&router, "edgellm_active_sequences", 2.0).await;
    drop(bodies);
    wait_for(&router, "edgellm_active_sequences", 0.0).await;
    let cancelled =
        metric(&router, "edgellm_sequences_finished_total{model=\"seeded\",reason=\"cancelled\"}").await;
    assert_eq!(cancelled, 2.0);
    // Nor does one that waits for a whole answer keep its place.
    let whole = tokio::spawn({
        let router = router.clone();
        async move { call(&router, "/v1/completions", json!({"prompt": "a", "logit_bias": {"0": -100}})).await }
    });
    wait_for(&router, "edgellm_active_sequences", 1.0).await;
    whole.abort();
    wait_for(&router, "edgellm_active_sequences", 0.0).await;
}

#[tokio::test]
async fn a_full_queue_says_so() {
    // Long enough that none ends while the test looks.
    let router = app(&server(Options {
        limits: Limits { parallel: 1, queue: 2, ..Limits::default() },
        ..Options::default()
    })
    .await);
    let running = begin(&router).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { begin(&router).await })
        })
        .collect();
    wait_for(&router, "edgellm_queue_depth", 2.0).await;
    let (status, headers, text) = send(&router, post(CHAT, &ask(1))).await;
    assert_eq!(status, 503, "{text}");
    assert_eq!(headers["retry-after"], "2");
    assert_eq!(metric(&router, "edgellm_rejected_total{reason=\"queue_full\"}").await, 1.0);
    drop(running);
    for task in waiting {
        drop(task.await.unwrap());
    }
    call(&router, CHAT, ask(1)).await;
}

/// A request with this API key.
fn with_key(key: &str, path: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path).header("authorization", format!("Bearer {key}"));
    request.body(body.to_string().into()).unwrap()
}

#[tokio::test]
async fn a_full_queue_refuses_only_whoever_filled_it() {
    let limits = Limits { parallel: 2, queue: 4, ..Limits::default() };
    let router = app(&server_with(Options { limits, ..Options::default() }, "alpha\nbeta").await);
    let endless = json!({"prompt": vec!["a"; 32], "n": 4, "logit_bias": {"0": -100}});
    let mut hog = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (router, request) = (router.clone(), with_key("alpha", "/v1/completions", &endless));
        hog.spawn(async move { send(&router, request).await });
    }
    // As soon as the first of them is refused, the queue is full.
    let (status, headers, text) = hog.join_next().await.unwrap().unwrap();
    assert_eq!((status.as_u16(), headers["retry-after"].to_str().unwrap()), (503, "2"), "{text}");
    for index in 0..5 {
        let (status, _, text) = send(&router, with_key("beta", CHAT, &ask(index))).await;
        assert_eq!(status, 200, "{text}");
    }
    hog.shutdown().await;
    let (status, ..) = send(&router, with_key("alpha", CHAT, &ask(1))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_answer_is_the_same_when_it_was_paused() {
    let limits = Limits { parallel: 2, ..Limits::default() };
    let router = app(&server_with(Options { limits, ..Options::default() }, "alpha\nbeta").await);
    let long = json!({"prompt": "a", "n": 4, "seed": 3, "max_tokens": 300, "logit_bias": {"0": -100}});
    let text =
        |(_, _, text): (_, _, String)| serde_json::from_str::<Value>(&text).unwrap()["choices"].clone();
    let alone = text(send(&router, with_key("alpha", "/v1/completions", &long)).await);
    let paused = tokio::spawn({
        let (router, request) = (router.clone(), with_key("alpha", "/v1/completions", &long));
        async move { send(&router, request).await }
    });
    let mut seen = 0.0;
    while !paused.is_finished() {
        let (status, ..) = send(&router, with_key("beta", CHAT, &ask(1))).await;
        assert_eq!(status, 200);
        let metrics = Request::get("/metrics").header("authorization", "Bearer beta").body(Body::empty());
        let (_, _, metrics) = send(&router, metrics.unwrap()).await;
        let line = metrics.lines().find(|line| line.starts_with("edgellm_active_sequences"));
        assert!(metrics.contains("edgellm_paused_sequences"));
        seen = f64::max(seen, line.unwrap().rsplit(' ').next().unwrap().parse().unwrap());
    }
    assert!(seen <= 2.0, "{seen} sequences had places");
    assert_eq!(text(paused.await.unwrap()), alone);
}

#[tokio::test]
async fn time_is_limited() {
    let limit = Duration::from_millis(300);
    let router = app(&server(Options {
        limits: Limits { parallel: 1, ..Limits::default() },
        request_timeout: limit,
        ..Options::default()
    })
    .await);
    // A hundred answers that end only with the context take longer than that on any machine: those that have not begun
    // are empty.
    let slow = json!({"prompt": "a", "logit_bias": {"0": -100}, "logprobs": 20, "n": 100});
    let answer = call(&router, "/v1/completions", slow.clone()).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() < 100 * 500);
    let running = tokio::spawn({
        let (router, slow) = (router.clone(), slow.clone());
        async move { call(&router, "/v1/completions", slow).await }
    });
    // The others wait for the only place.
    wait_for(&router, "edgellm_active_sequences", 1.0).await;
    // One that waits for longer than it may is told so.
    let (status, headers, text) = send(&router, post(CHAT, &ask(1))).await;
    assert!(status == 200 || (status == 503 && headers.contains_key("retry-after")), "{text}");
    running.await.unwrap();
}

#[tokio::test]
async fn a_long_prompt_lets_the_others_speak() {
    let options = Options {
        limits: Limits { prefill_chunk: 8, parallel: 4, ..Limits::default() },
        ..Options::default()
    };
    let router = app(&server(options).await);
    let mut body = begin(&router).await;
    assert!(body.frame().await.is_some());
    let before = metric(&router, "edgellm_completion_tokens_total").await;
    let long = json!({"prompt": "x".repeat(400), "max_tokens": 1});
    call(&router, "/v1/completions", long).await;
    // 400 tokens in chunks of 8 are 50 steps, and the other sequence got a token in each while it lasted.
    let during = metric(&router, "edgellm_completion_tokens_total").await - before;
    assert!(during > 30.0, "{during}");
}

#[tokio::test]
async fn kept_prefixes_stay_within_their_memory() {
    // Pages of the seeded model are 32 KiB.
    let options =
        Options { limits: Limits { prefix_memory: 400 << 10, ..Limits::default() }, ..Options::default() };
    let router = app(&server(options).await);
    for index in 0..12 {
        call(&router, CHAT, ask(index)).await;
        assert!(metric(&router, "edgellm_prefix_cache_bytes").await <= (400 << 10) as f64);
    }
    assert!(metric(&router, "edgellm_prefix_cache_bytes").await > 0.0);
}
