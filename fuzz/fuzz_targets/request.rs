//! Sends arbitrary bytes to the server as a chat request: whole, or, after a letter, as its schema, tools or messages. No
//! request may panic, end the process, or take 2 seconds of CPU time.
#![no_main]

use axum::Router;
use axum::body::Body;
use edgellm::testing::{byte_tokenizer_with, recipes, seeded_model_with};
use edgellm::{Model, SessionOptions};
use edgellm_server::{ApiKeys, ModelSource, OpenModel, Options, Server, app};
use http::Request;
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>";

static SERVER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let open = || {
        let bytes = seeded_model_with(recipes()[0], 5, Some(TEMPLATE), &byte_tokenizer_with(&["<|start|>", "<|end|>"]))?;
        Ok(OpenModel::from(Model::from_bytes(bytes)?))
    };
    let source = ModelSource {
        id: "seeded".into(),
        created: 1,
        session: SessionOptions::default(),
        file: None,
        open: Box::new(open),
    };
    // Answers are long only if somebody asks for it, which is no fault.
    let options = Options { context: 512, max_tokens: Some(8), ..Options::default() };
    let server = Server::new(vec![source], options, ApiKeys::default()).unwrap();
    runtime.block_on(server.load()).unwrap();
    (runtime, app(&server))
});

fuzz_target!(|data: &[u8]| {
    let (runtime, router) = &*SERVER;
    let Some(body) = body(data) else { return };
    let before = cpu_seconds();
    let status = runtime.block_on(async {
        let request = Request::post("/v1/chat/completions").header("host", "localhost").body(Body::from(body)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status
    });
    assert!(status != 500, "a request got 500");
    let spent = cpu_seconds() - before;
    assert!(spent < 2.0, "a request took {spent} s");
});

/// A request with few tokens; `None` if the bytes are no text.
fn body(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = data.split_first()?;
    let rest = std::str::from_utf8(rest).ok()?;
    let hi = r#"[{"role": "user", "content": "hi"}]"#;
    Some(match kind {
        b's' => format!(r#"{{"max_tokens": 8, "messages": {hi}, "json_schema": {rest}}}"#).into(),
        b't' => format!(r#"{{"max_tokens": 8, "messages": {hi}, "tool_choice": "required", "tools": {rest}}}"#).into(),
        b'm' => format!(r#"{{"max_tokens": 2, "messages": {rest}}}"#).into(),
        _ => data.to_vec(),
    })
}

/// CPU time of the process, in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace).map(|field| field.parse().unwrap_or(0.0)).collect();
    fields.get(11..13).map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}
