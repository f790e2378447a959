//! Keys, rates, origins, and request ids.

use super::support::{router, send, server, server_with};
use axum::body::Body;
use edgellm_server::{Options, app};
use http::{HeaderMap, Method, Request};

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
        assert_eq!(super::support::get(&router, path).await.0, 401, "{path}");
    }
    for path in ["/health", "/docs", "/openapi.json"] {
        assert_eq!(super::support::get(&router, path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn foreign_names_are_refused_without_keys() {
    let open =
        app(&server(Options { allowed_hosts: vec!["board.local".into()], ..Options::default() }).await);
    for (host, status) in [("evil.example:80", 403), ("127.0.0.1:80", 200), ("board.local", 200)] {
        let (got, _, text) = send(&open, models(&[("host", host)])).await;
        assert_eq!(got, status, "{host}: {text}");
    }
    let page = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(send(&open, models(&page)).await.0, 403);
    let keys = app(&server_with(Options::default(), "alpha").await);
    let named = [("host", "llm.example.org"), ("authorization", "Bearer alpha")];
    assert_eq!(send(&keys, models(&named)).await.0, 200);
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
    assert_eq!(super::support::get(&router, "/health").await.0, 200, "health is never limited");
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
