//! `POST /v1/completions`.

use super::generation::{self, Prepared};
use crate::answer::CompletionFormat;
use crate::api::completions::{Completion, CompletionBody, CompletionRequest};
use crate::api::refusals::{Refusals, ServerSentEvent};
use crate::api::sampling::check;
use crate::body::Body;
use crate::error::ApiError;
use crate::grammar::Shape;
use crate::request_id::RequestId;
use crate::server::Server;
use axum::extract::{Extension, State};
use axum::response::Response;
use edgellm::TokenId;
use serde_json::Value;
use std::iter::repeat_n;

/// Continues texts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "OpenAI",
    request_body = CompletionBody,
    responses(
        (status = 200, description = "The answer", content(
            (Completion = "application/json"),
            (ServerSentEvent = "text/event-stream")
        )),
        Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn create(
    State(server): State<Server>,
    Extension(request): Extension<RequestId>,
    body: Body,
) -> Result<Response, ApiError> {
    let CompletionBody { completion, sampling } = body.parse()?;
    let CompletionRequest { model, prompt, echo, logprobs, json_schema } = completion;
    check("logprobs", logprobs.is_none_or(|count| count <= 20), "in 0..=20")?;
    generation::answer(server, request, model.as_deref(), sampling, move |context, sampling| {
        let shape = Shape { json: json_schema.map(Value::Object), ..Shape::default() };
        let constraint = context.constraint("json_schema", &shape)?;
        let prompts = context.prompts("prompt", prompt)?;
        let tokenizer = context.model.model.tokenizer();
        let echo = |prompt: &Vec<TokenId>| echo.unwrap_or(false).then(|| tokenizer.decode(prompt, true));
        let echoes = prompts.iter().flat_map(|prompt| repeat_n(echo(prompt), sampling.choices()));
        let format = CompletionFormat::new(echoes.collect());
        Ok(Prepared { prompts, constraint, logprobs: logprobs.map(|count| count as usize), format })
    })
    .await
}
