//! `POST /v1/completions`.

use super::generation::{self, Prepared};
use crate::answer::{CompletionFormat, Echo};
use crate::api::chat::ResponseFormat;
use crate::api::completions::{Completion, CompletionBody, CompletionRequest};
use crate::api::refusals::{Refusals, ServerSentEvent};
use crate::api::sampling::check;
use crate::body::Body;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::grammar::Shape;
use crate::server::Server;
use axum::extract::{Extension, State};
use axum::response::Response;
use std::iter::repeat_n;
use std::sync::Arc;

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
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let CompletionBody { completion, sampling } = body.read()?;
    let CompletionRequest { model, prompt, echo, logprobs, response_format, json_schema } = completion;
    check("logprobs", logprobs.is_none_or(|count| count <= 20), "in 0..=20")?;
    let json = ResponseFormat::schema(response_format.as_ref(), json_schema)?;
    let count = prompt.count();
    generation::answer(server, caller, model.as_deref(), count, sampling, move |context, sampling| {
        let (field, json) = json.unzip();
        let shape = Shape { json, ..Shape::default() };
        let constraint = context.constraint(field.unwrap_or_default(), &shape)?;
        let echo = echo.unwrap_or(false);
        let texts = if echo { prompt.texts().to_vec() } else { Vec::new() };
        let prompts = context.prompts("prompt", prompt, context.server.options().max_choices)?;
        let tokenizer = context.model.model.tokenizer();
        let echoes = prompts.iter().enumerate().flat_map(|(index, prompt)| {
            let echo = echo.then(|| Arc::new(Echo::new(tokenizer, prompt, texts.get(index))));
            repeat_n(echo, sampling.choices())
        });
        let format = CompletionFormat::new(echoes.collect());
        let logprobs = logprobs.map(|count| count as usize);
        Ok(Prepared { prompts, constraint, logprobs, scored: echo, format })
    })
    .await
}
