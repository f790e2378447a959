//! Keys, rates, origins, and request ids.

use super::support::{call, get, post, router, send, send_as_it_is, server, server_with, source};
use axum::body::Body;
use edgellm_server::{ApiKeys, Options, Server, ServerError, app};
use http::{HeaderMap, Method, Request, Version};
use serde_json::{Value, json};

fn models(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/v1/models");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn keys_open() {
    let router = app(&server_with(Options::default(), "alpha\nbeta").await);
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", "Bearer gamma")], 401),
        (vec![("authorization", "Basic alpha")], 401),
        (vec![("authorization", "Bearer")], 401),
        (vec![("authorization", "Bearer alpha")], 200),
        (vec![("authorization", "bearer  beta ")], 200),
    ] {
        let (got, headers, text) = send(&router, models(&headers)).await;
        assert_eq!(got, status, "{text}");
        assert_eq!(headers.contains_key("www-authenticate"), status == 401);
    }
    for path in ["/metrics", "/v1/models/seeded"] {
        assert_eq!(get(&router, path).await.0, 401, "{path}");
    }
    for path in ["/health", "/docs", "/openapi.json"] {
        assert_eq!(get(&router, path).await.0, 200, "{path}");
    }
}

/// The status of a GET request with these headers and no others.
async fn status(router: &axum::Router, version: Version, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::get(path).version(version);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send_as_it_is(router, request.body(Body::empty()).unwrap()).await.0.as_u16()
}

#[tokio::test]
async fn foreign_names_are_refused_without_keys() {
    let open =
        app(&server(Options { allowed_hosts: vec!["board.local".into()], ..Options::default() }).await);
    let ask = async |host: &str, path: &str| status(&open, Version::HTTP_11, path, &[("host", host)]).await;
    for path in [
        "/v1/models",
        "/metrics",
        "/v1/models/seeded/file",
        "/",
        "/site.json",
        "/docs",
        "/openapi.json",
        "/nowhere",
    ] {
        assert_eq!(ask("evil.example:80", path).await, 403, "{path}");
    }
    for host in ["127.0.0.1:80", "Board.local:8080", "[::1]:8080", "localhost."] {
        assert_eq!(ask(host, "/v1/models").await, 200, "{host}");
    }
    // The page of a foreign name cannot hide behind its origin.
    let page = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(status(&open, Version::HTTP_11, "/v1/models", &page).await, 403);
    // Probes use names of their own, and programs HTTP/1.0.
    assert_eq!(ask("probe.example", "/health").await, 200);
    assert_eq!(status(&open, Version::HTTP_10, "/v1/models", &[]).await, 200);
    assert_eq!(status(&open, Version::HTTP_10, "/v1/models", &[("host", "evil.example")]).await, 403);
    let keys = app(&server_with(Options::default(), "alpha").await);
    let named = [("host", "llm.example.org"), ("authorization", "Bearer alpha")];
    assert_eq!(status(&keys, Version::HTTP_11, "/v1/models", &named).await, 200);
}

#[tokio::test]
async fn http_1_1_needs_one_valid_host() {
    for keys in ["", "alpha"] {
        let router = app(&server_with(Options::default(), keys).await);
        for path in ["/health", "/", "/v1/models", "/nowhere"] {
            for hosts in [
                &[][..],
                &[("host", "localhost"), ("host", "localhost")],
                &[("host", "localhost"), ("host", "evil.example")],
                &[("host", "")],
                &[("host", "localhost@evil.example")],
                &[("host", "localhost:port")],
            ] {
                assert_eq!(status(&router, Version::HTTP_11, path, hosts).await, 400, "{path} {hosts:?}");
            }
        }
        let other = "http://evil.example/health";
        assert_eq!(status(&router, Version::HTTP_11, other, &[("host", "localhost")]).await, 400);
    }
}

#[tokio::test]
async fn allowed_hosts_that_can_never_match_are_refused() {
    for name in ["board.local:8080", "http://board.local", "*.example", "", "bücher.example"] {
        let options = Options { allowed_hosts: vec![name.into()], ..Options::default() };
        let refused = Server::new(vec![source("seeded", 5)], options, ApiKeys::default()).map(|_| ());
        assert!(matches!(refused, Err(ServerError::AllowedHost(wrong)) if wrong == name));
    }
}

#[tokio::test]
async fn every_refusal_is_json() {
    let mut model = source("seeded", 5);
    model.file = Some(std::env::temp_dir().join("edgellm-no-such-file"));
    let server = Server::new(vec![model], Options::default(), ApiKeys::default()).unwrap();
    let router = app(&server);
    let long = format!("/{}", "%1b".repeat(20_000));
    for (method, path, status) in [
        ("GET", "/v1/models/%ff", 400),
        ("GET", "/v1/models/%ff/file", 400),
        ("GET", "/v1/models/%00", 404),
        ("GET", "/v1/models/a%0d%0ab", 404),
        ("GET", "/v1/models/seeded/file", 500),
        ("GET", "/%ff", 404),
        ("GET", long.as_str(), 404),
        ("BREW", "/v1/models", 405),
        ("PUT", "/", 405),
        ("DELETE", "/health", 405),
        ("TRACE", "/v1/chat/completions", 405),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/chat/completions", 400),
    ] {
        let method: Method = method.parse().unwrap();
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (got, headers, text) = send(&router, request).await;
        assert_eq!(
            (got.as_u16(), headers["content-type"].as_bytes()),
            (status, &b"application/json"[..]),
            "{path}"
        );
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
        assert!(text.len() < 2000, "{path}: {}", text.len());
    }
    let (_, text) = get(&router, "/metrics").await;
    assert!(text.contains("edgellm_requests_total{path=\"/v1/models/{id}\",status=\"400\"} 1"), "{text}");
}

#[tokio::test]
async fn errors_do_not_send_a_request_back() {
    let router = router().await;
    let long = "\u{1b}".repeat(1 << 19);
    let messages = json!([{"role": "user", "content": "a"}]);
    for body in [
        json!({"model": long, "messages": messages}),
        json!({"messages": messages, "response_format": {"type": long}}),
        json!({"messages": messages, "logit_bias": {long.clone(): "x"}}),
        json!({"messages": messages, "tool_choice": long}),
    ] {
        let (status, _, text) = send(&router, post("/v1/chat/completions", &body)).await;
        assert!(status.is_client_error() && text.len() < 20_000, "{status}, {} bytes", text.len());
    }
}

#[tokio::test]
async fn addresses_of_a_network_share_a_rate() {
    let options = Options { rate_limit: Some(2), trust_proxy: true, ..Options::default() };
    let router = app(&server(options).await);
    for (group, addresses) in [
        ["2001:db8:1:2::1", "2001:db8:1:2:ffff::7", "[2001:db8:1:2::9]:4711"],
        ["203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7:80"],
    ]
    .iter()
    .enumerate()
    {
        for (index, address) in addresses.iter().enumerate() {
            let (status, _, text) = send(&router, models(&[("x-forwarded-for", address)])).await;
            assert_eq!(status.as_u16(), if index < 2 { 200 } else { 429 }, "{group} {address}: {text}");
        }
    }
    for other in ["2001:db8:1:3::1", "203.0.113.8"] {
        assert_eq!(send(&router, models(&[("x-forwarded-for", other)])).await.0, 200, "{other}");
    }
}

#[tokio::test]
async fn each_key_has_its_own_rate() {
    let options = Options { rate_limit: Some(3), ..Options::default() };
    let router = app(&server_with(options, "alpha\nbeta").await);
    let ask = |key: &str| models(&[("authorization", &format!("Bearer {key}"))]);
    for _ in 0..3 {
        assert_eq!(send(&router, ask("alpha")).await.0, 200);
    }
    let (status, headers, text) = send(&router, ask("alpha")).await;
    assert_eq!(status, 429, "{text}");
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert_eq!(send(&router, ask("beta")).await.0, 200);
    // Guessing keys is limited as well.
    let statuses = [(); 5].map(|()| send(&router, ask("guess")));
    let mut last = 0;
    for status in statuses {
        last = status.await.0.as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(get(&router, "/health").await.0, 200, "health is never limited");
}

#[tokio::test]
async fn a_rate_counts_sequences() {
    let options = Options { rate_limit: Some(10), ..Options::default() };
    let router = app(&server(options).await);
    let texts = |count| vec!["a"; count];
    let many = |count| json!({"input": texts(count)});
    let completion = |prompts, n| json!({"prompt": texts(prompts), "n": n, "max_tokens": 1});
    // More than a minute allows never pass.
    for (path, body) in [
        ("/v1/embeddings", many(11)),
        ("/v1/completions", completion(6, 2)),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "a"}], "n": 11, "max_tokens": 1}),
        ),
    ] {
        let (status, _, code) = super::support::refused(&router, path, body).await;
        assert_eq!((status, code.as_str()), (400, "request_too_large"), "{path}");
    }
    // Each of these has counted as one. Then there are 7 left.
    call(&router, "/v1/completions", completion(2, 3)).await;
    let (status, headers, text) = send(&router, post("/v1/embeddings", &many(3))).await;
    assert_eq!(status, 429, "{text}");
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((6..=30).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn pages_of_other_sites_are_kept_out() {
    let closed = router().await;
    let (status, headers, _) = send(&closed, models(&[("origin", "https://evil.example")])).await;
    assert_eq!(status, 403);
    assert!(!headers.contains_key("access-control-allow-origin"));
    let own = models(&[("origin", "http://localhost:8080"), ("host", "localhost:8080")]);
    assert_eq!(send(&closed, own).await.0, 200);
    let options = Options { cors_origins: vec!["https://chat.example".into()], ..Options::default() };
    let open = app(&server(options).await);
    let (status, headers, _) = send(&open, models(&[("origin", "https://chat.example")])).await;
    assert_eq!(
        (status.as_u16(), headers["access-control-allow-origin"].to_str().unwrap()),
        (200, "https://chat.example")
    );
    assert_eq!(send(&open, models(&[("origin", "https://evil.example")])).await.0, 403);
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri("/v1/chat/completions")
        .header("origin", "https://chat.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization")
        .body(Body::empty())
        .unwrap();
    let (status, headers, _) = send(&open, preflight).await;
    assert_eq!(
        (status.as_u16(), headers["access-control-allow-headers"].to_str().unwrap()),
        (200, "authorization")
    );
}

#[tokio::test]
async fn requests_have_names() {
    let router = router().await;
    let id = |headers: &HeaderMap| headers["x-request-id"].to_str().unwrap().to_string();
    let (_, first, _) = send(&router, models(&[])).await;
    let (_, second, _) = send(&router, models(&[])).await;
    assert_ne!(id(&first), id(&second));
    let (_, own, _) = send(&router, models(&[("x-request-id", "mine-1")])).await;
    assert_eq!(id(&own), "mine-1");
    let (_, unsound, _) = send(&router, models(&[("x-request-id", "a b")])).await;
    assert!(id(&unsound).starts_with("req_"));
}
