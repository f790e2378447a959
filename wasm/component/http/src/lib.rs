//! The engine as an HTTP handler: world `wasi:http/proxy`, for `wasmtime serve` and platforms that run such components.
//!
//! It serves `POST /v1/chat/completions`, whole or streamed, `GET /v1/models` and `GET /health` with the model files in
//! its preopened directories. docs/deployment.md shows how to run it.
#![deny(unsafe_code)]
// Other targets export nothing and only check the crate.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]

mod answer;
mod models;
mod request;
mod response;

use request::Refusal;
use response::Responder;
use serde_json::json;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

struct Handler;

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        edgellm_component::report_panics();
        let responder = Responder::new(out);
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        match (request.method(), path) {
            (Method::Post, "/v1/chat/completions") => chat(&request, responder),
            (Method::Get, "/v1/models") => {
                let entry =
                    |name| json!({ "id": name, "object": "model", "created": 0, "owned_by": "edgellm" });
                let data: Vec<_> = models::names().into_iter().map(entry).collect();
                responder.json(200, &json!({ "object": "list", "data": data }));
            }
            (Method::Get, "/health") => responder.json(200, &json!({ "status": "ok" })),
            (_, "/v1/chat/completions" | "/v1/models" | "/health") => {
                responder.refuse(&Refusal::new(405, "this path does not support this method"));
            }
            _ => responder.refuse(&Refusal::new(
                404,
                "there is no such path; there are POST /v1/chat/completions, GET /v1/models and GET /health",
            )),
        }
    }
}

fn chat(request: &IncomingRequest, responder: Responder) {
    let answer = request::read(request).and_then(answer::Answer::begin);
    match answer {
        Ok(answer) if answer.streams() => answer.stream(responder),
        Ok(answer) => match answer.whole() {
            Ok(body) => responder.json(200, &body),
            Err(refusal) => responder.refuse(&refusal),
        },
        Err(refusal) => responder.refuse(&refusal),
    }
}

/// The export that makes it a handler.
#[allow(unsafe_code, missing_docs, clippy::undocumented_unsafe_blocks)]
#[cfg(target_arch = "wasm32")]
mod export {
    use super::Handler;
    wasip2::http::proxy::export!(Handler);
}
