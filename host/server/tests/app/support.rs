//! A server over seeded models, and calls to it.

use axum::Router;
use axum::body::Body;
use edgellm::testing::{byte_tokenizer_with, recipes, seeded_model_with};
use edgellm::{Model, SessionOptions};
use edgellm_server::{ApiKeys, ModelSource, OpenError, OpenModel, Options, Server, app};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}\
                                   {% if add_generation_prompt %}<assistant>{% endif %}";

/// A model of this name; the same seed gives the same model.
pub(crate) fn source(id: &str, seed: u64) -> ModelSource {
    source_with(id, seed, TEMPLATE)
}

/// A model with this template.
pub(crate) fn source_with(id: &str, seed: u64, template: &'static str) -> ModelSource {
    let open = move || -> Result<OpenModel, OpenError> {
        let tokenizer = byte_tokenizer_with(&SPECIAL_TOKENS);
        let bytes = seeded_model_with(recipes()[0], seed, Some(template), &tokenizer)?;
        Ok(OpenModel::from(Model::from_bytes(bytes)?))
    };
    ModelSource {
        id: id.into(),
        created: 1,
        session: SessionOptions::default(),
        file: None,
        open: Box::new(open),
    }
}

/// The special tokens of the models; all other tokens are bytes.
pub(crate) const SPECIAL_TOKENS: [&str; 2] = ["<|start|>", "<|end|>"];

/// A server of a model with this template.
pub(crate) async fn router_with(template: &'static str, options: Options) -> Router {
    let server = Server::new(vec![source_with("seeded", 5, template)], options, ApiKeys::parse("")).unwrap();
    server.load().await.unwrap();
    app(&server)
}

/// A server of one model, called `seeded`.
pub(crate) async fn server(options: Options) -> Server {
    server_with(options, "").await
}

/// The same with API keys.
pub(crate) async fn server_with(options: Options, keys: &str) -> Server {
    let server = Server::new(vec![source("seeded", 5)], options, ApiKeys::parse(keys)).unwrap();
    server.load().await.unwrap();
    server
}

pub(crate) async fn router() -> Router {
    app(&server(Options::default()).await)
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path).header("host", "localhost").body(body.to_string().into()).unwrap()
}

/// Status, headers and text of an answer to a request, which gets a Host header if it has none.
pub(crate) async fn send(
    router: &Router,
    mut request: Request<Body>,
) -> (StatusCode, http::HeaderMap, String) {
    request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("localhost"));
    send_as_it_is(router, request).await
}

/// Status, headers and text of an answer.
pub(crate) async fn send_as_it_is(
    router: &Router,
    request: Request<Body>,
) -> (StatusCode, http::HeaderMap, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

/// The JSON of a good answer.
pub(crate) async fn call(router: &Router, path: &str, body: Value) -> Value {
    let (status, _, text) = send(router, post(path, &body)).await;
    assert_eq!(status, StatusCode::OK, "{path} {body}: {text}");
    serde_json::from_str(&text).unwrap()
}

pub(crate) async fn get(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap();
    let (status, _, text) = send(router, request).await;
    (status, text)
}

/// Status, `param` and `code` of a refused request.
pub(crate) async fn refused(router: &Router, path: &str, body: Value) -> (u16, String, String) {
    let (status, _, text) = send(router, post(path, &body)).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let error = &answer["error"];
    assert!(error["message"].is_string() && error["type"].is_string(), "{text}");
    let word = |name: &str| error[name].as_str().unwrap_or_default().to_string();
    (status.as_u16(), word("param"), word("code"))
}

/// The pieces of a streamed answer, which must end as it should.
pub(crate) async fn stream(router: &Router, path: &str, mut body: Value) -> Vec<Value> {
    body["stream"] = true.into();
    let (status, headers, text) = send(router, post(path, &body)).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(headers["content-type"], "text/event-stream");
    let mut events: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    events.iter().map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

/// What a metric stands at.
pub(crate) async fn metric(router: &Router, name: &str) -> f64 {
    let (_, text) = get(router, "/metrics").await;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

/// Waits until a metric has this value.
pub(crate) async fn wait_for(router: &Router, name: &str, value: f64) {
    for _ in 0..1000 {
        if metric(router, name).await == value {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{name} did not become {value}: {}", get(router, "/metrics").await.1);
}
