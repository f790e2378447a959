//! `POST /v1/completions`.

use super::generation::{self, Prepared, Request};
use crate::answer::{CompletionFormat, Echo};
use crate::api::chat::ResponseFormat;
use crate::api::completions::{Completion, CompletionBody, CompletionRequest};
use crate::api::refusals::{Refusals, ServerSentEvent};
use crate::api::sampling::{Sampling, check};
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
    generation::answer(server, caller, body, |context, request: &CompletionBody, _| {
        let CompletionRequest { prompt, echo, logprobs, response_format, json_schema, .. } =
            &request.completion;
        check("logprobs", logprobs.is_none_or(|count| count <= 20), "in 0..=20")?;
        let json = ResponseFormat::schema(response_format.as_ref(), json_schema.clone())?;
        let (field, json) = json.unzip();
        let shape = Shape { json, ..Shape::default() };
        let constraint = context.constraint(field.unwrap_or_default(), &shape)?;
        let prompts = context.prompts("prompt", prompt, context.server.options().max_choices)?;
        let (echo, texts) = (echo.unwrap_or(false), prompt.texts());
        let tokenizer = context.model.model.tokenizer();
        let echoes = prompts.iter().enumerate().flat_map(|(index, prompt)| {
            let echo = echo.then(|| Arc::new(Echo::new(tokenizer, prompt, texts.get(index))));
            repeat_n(echo, request.sampling.choices())
        });
        let format = CompletionFormat::new(echoes.collect());
        let logprobs = logprobs.map(|count| count as usize);
        Ok(Prepared { prompts, constraint, logprobs, scored: echo, format })
    })
    .await
}

impl Request for CompletionBody {
    fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    fn prompts(&self) -> usize {
        self.completion.prompt.count()
    }
}
