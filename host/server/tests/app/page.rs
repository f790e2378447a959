//! The page at `/` and the models' files.

use super::support::{get, router, send, server_with, source};
use axum::Router;
use axum::body::Body;
use edgellm_server::{ApiKeys, Options, Server, app};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::path::PathBuf;
use tower::ServiceExt as _;

async fn fetch(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Files that the page's HTML names.
fn named(html: &str) -> Vec<&str> {
    let parts = html
        .split([' ', '\n'])
        .filter_map(|part| part.strip_prefix("href=\"").or(part.strip_prefix("src=\"")));
    parts.filter_map(|part| part.split('"').next()).filter(|name| !name.starts_with('#')).collect()
}

#[tokio::test]
async fn the_page_and_all_that_it_names_are_served() {
    let router = router().await;
    let (status, headers, html) = fetch(&router, Method::GET, "/", &[]).await;
    assert_eq!((status, &headers["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
    let html = String::from_utf8(html).unwrap();
    let files = named(&html);
    assert!(files.len() > 20, "{files:?}");
    for file in files.iter().chain(&["index.html", "sw.js", "site.json"]) {
        let (status, headers, bytes) = fetch(&router, Method::GET, &format!("/{file}"), &[]).await;
        assert_eq!(status, 200, "{file}");
        assert!(!bytes.is_empty(), "{file}");
        // Threads need these on every file, and the service worker keeps files with their headers.
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{file}");
        assert_eq!(headers["cross-origin-embedder-policy"], "require-corp", "{file}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{file}");
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"),
            "{file}"
        );
    }
}

#[tokio::test]
async fn files_are_packed_and_known_by_their_tags() {
    let router = router().await;
    let (_, plain, text) = fetch(&router, Method::GET, "/style.css", &[]).await;
    assert!(!plain.contains_key("content-encoding"));
    let (_, packed, bytes) =
        fetch(&router, Method::GET, "/style.css", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(packed["content-encoding"], "gzip");
    assert!(bytes.len() < text.len() / 2 && bytes.starts_with(&[0x1f, 0x8b]));
    let tag = plain["etag"].to_str().unwrap();
    let (status, _, nothing) = fetch(&router, Method::GET, "/style.css", &[("if-none-match", tag)]).await;
    assert_eq!((status, nothing.len()), (304, 0));
    let (status, headers, nothing) = fetch(&router, Method::HEAD, "/style.css", &[]).await;
    assert_eq!((status, nothing.len()), (200, 0));
    assert_eq!(headers["content-type"], "text/css; charset=utf-8");
    assert_eq!(fetch(&router, Method::POST, "/style.css", &[]).await.0, 405);
}

#[tokio::test]
async fn what_is_no_file_of_the_page_is_not_found() {
    let router = router().await;
    for path in [
        "/Cargo.toml",
        "/src",
        "/src/",
        "/src/../sw.js",
        "/..%2fsw.js",
        "/package.json",
        "/vendor/marked.LICENSE",
    ] {
        assert_eq!(get(&router, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn the_page_knows_of_keys_and_nothing_else() {
    let site = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let open = site(get(&router().await, "/site.json").await.1);
    assert_eq!(open["server"]["keys"], false);
    let guarded = app(&server_with(Options::default(), "secret").await);
    let (status, text) = get(&guarded, "/site.json").await;
    assert_eq!((status.as_u16(), &site(text)["server"]["keys"]), (200, &Value::Bool(true)));
    assert_eq!(get(&guarded, "/").await.0, 200);
}

/// A server that hands out `path` as the file of the model `seeded`.
async fn handing_out(path: Option<PathBuf>, keys: &str) -> Router {
    let mut model = source("seeded", 5);
    model.file = path;
    let server = Server::new(vec![model], Options::default(), ApiKeys::parse(keys)).unwrap();
    server.load().await.unwrap();
    app(&server)
}

#[tokio::test]
async fn models_are_for_download_only_where_allowed() {
    const FILE: &str = "/v1/models/seeded/file";
    let closed = handing_out(None, "").await;
    let (status, text) = get(&closed, FILE).await;
    assert_eq!(status, 403);
    assert!(text.contains("--allow-download") && text.contains("download_not_allowed"), "{text}");
    assert!(!get(&closed, "/v1/models").await.1.contains("\"bytes\":1"));

    let path = std::env::temp_dir().join(format!("edgellm-page-{}.tmac2.bin", std::process::id()));
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &content).unwrap();
    let open = handing_out(Some(path.clone()), "").await;
    let card: Value = serde_json::from_str(&get(&open, "/v1/models/seeded").await.1).unwrap();
    assert_eq!(card["bytes"], content.len());
    let (status, headers, bytes) = fetch(&open, Method::GET, FILE, &[]).await;
    assert_eq!((status, bytes == content), (200, true));
    assert!(headers.contains_key("etag"));
    let (status, headers, bytes) = fetch(&open, Method::GET, FILE, &[("range", "bytes=399990-")]).await;
    assert_eq!((status, bytes.as_slice()), (206, &content[399_990..]));
    assert_eq!(headers["content-range"], "bytes 399990-399999/400000");
    for (header, value, status) in
        [("range", "bytes=400000-", 416), ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412)]
    {
        let (got, headers, body) = fetch(&open, Method::GET, FILE, &[(header, value)]).await;
        assert_eq!(got, status, "{header}");
        assert_eq!(headers.contains_key("content-range"), status == 416);
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert!(error["error"]["message"].is_string(), "{error}");
    }
    // No part of a request is a path.
    for path in
        ["/v1/models/other/file", "/v1/models/..%2f..%2fetc%2fpasswd/file", "/v1/models/seeded/file/x"]
    {
        assert_eq!(get(&open, path).await.0, 404, "{path}");
    }

    let guarded = handing_out(Some(path.clone()), "secret").await;
    assert_eq!(get(&guarded, FILE).await.0, 401);
    let request = Request::get(FILE).header("authorization", "Bearer secret").header("range", "bytes=0-3");
    assert_eq!(send(&guarded, request.body(Body::empty()).unwrap()).await.0, 206);
    std::fs::remove_file(path).unwrap();
}
