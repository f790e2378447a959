//! The web page at `/`. Its files are built into the program, so no request reaches the file system.

use crate::error::ApiError;
use crate::server::Server;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::io::Read as _;
use std::sync::LazyLock;

/// A file of the page.
struct File {
    /// Its path on the server.
    path: &'static str,
    kind: &'static str,
    etag: &'static str,
    gzip: &'static [u8],
}

/// All files, from `build.rs`.
static FILES: &[File] = &include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Headers of all files of the page: its security policy, and the isolation that threads require.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let text = include_str!("../../../web-demo/headers.json");
    let headers: serde_json::Map<String, Value> =
        serde_json::from_str(text).expect("a test reads the built-in headers");
    let pair = |(name, value): (&String, &Value)| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    };
    headers.iter().filter_map(pair).collect()
});

/// The page and all its files.
pub(crate) fn routes() -> Router<Server> {
    FILES.iter().fold(Router::new().route("/site.json", get(site)), |router, file| {
        let answer = move |headers: HeaderMap| async move { file.answer(&headers) };
        let router = if file.path == "index.html" { router.route("/", get(answer)) } else { router };
        router.route(&format!("/{}", file.path), get(answer))
    })
}

/// What the page needs to know about this server. It asks for the models with the API key.
async fn site(State(server): State<Server>) -> Response {
    let engine = FILES.iter().any(|file| file.path == "engine/index.js");
    let site = json!({"server": {"keys": !server.keys().is_empty()}, "engine": engine, "catalogue": []});
    (HEADERS.clone(), axum::Json(site)).into_response()
}

impl File {
    fn answer(&self, request: &HeaderMap) -> Response {
        let mut headers = HEADERS.clone();
        headers.insert(header::ETAG, HeaderValue::from_static(self.etag));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if words(request, header::IF_NONE_MATCH).any(|tag| tag == self.etag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if words(request, header::ACCEPT_ENCODING).any(is_gzip) {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return (headers, self.gzip).into_response();
        }
        match self.unpacked() {
            Ok(bytes) => (headers, bytes).into_response(),
            Err(error) => ApiError::internal(format!("{}: {error}", self.path)).into_response(),
        }
    }

    fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.gzip).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The comma-separated values of a header.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

/// Whether an accepted encoding is gzip; `q=0` excludes it.
fn is_gzip(encoding: &str) -> bool {
    let mut parts = encoding.split(';').map(str::trim);
    parts.next() == Some("gzip") && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole() {
        assert!(FILES.iter().any(|file| file.path == "index.html"));
        for file in FILES {
            assert!(!file.unpacked().unwrap().is_empty(), "{}", file.path);
            assert!(!file.path.contains(".."), "{}", file.path);
        }
    }

    #[test]
    fn headers_are_read() {
        let text: Value = serde_json::from_str(include_str!("../../../web-demo/headers.json")).unwrap();
        assert_eq!(HEADERS.len(), text.as_object().unwrap().len());
        assert_eq!(HEADERS["cross-origin-opener-policy"], "same-origin");
    }

    #[test]
    fn encodings_are_what_the_client_takes() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
            words(&headers, header::ACCEPT_ENCODING).any(is_gzip)
        };
        assert!(accepts("gzip") && accepts("br, gzip;q=0.5"));
        assert!(!accepts("gzipped") && !accepts("br") && !accepts("gzip; q=0, br"));
    }
}
