//! `POST /v1/completions`.

use super::Context;
use crate::answer::{self, CompletionAnswer, EventStream, RequestId, Tally};
use crate::api::completions::CompletionRequest;
use crate::api::sampling::{Sampling, check};
use crate::body::Body;
use crate::error::ApiError;
use crate::grammar::Shape;
use crate::server::Server;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Continues texts.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "OpenAI",
    request_body = crate::openapi::CompletionBody,
    responses(
        (status = 200, description = "The answer", content(
            (crate::api::completions::Completion = "application/json"),
            (crate::openapi::ServerSentEvent = "text/event-stream")
        )),
        crate::openapi::Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn create(
    State(server): State<Server>,
    Extension(request): Extension<RequestId>,
    body: Body,
) -> Result<Response, ApiError> {
    let (completion, sampling): (CompletionRequest, Sampling) = (body.parse()?, body.parse()?);
    let most = server.options().max_choices;
    sampling.validate(most)?;
    check("logprobs", completion.logprobs.is_none_or(|count| count <= 20), "in 0..=20")?;
    let echo = completion.echo.unwrap_or(false);
    let context = Context::new(server, request, completion.model.as_deref()).await?;
    let (sender, events) = Context::events();
    let (stream, include_usage) = (sampling.stream(), sampling.include_usage());
    let user = sampling.user.clone();
    let (context, (jobs, echoes)) = context
        .work(move |context| {
            let shape = Shape { json: completion.json_schema.map(Value::Object), ..Shape::default() };
            let constraint = context.model.constraint(&shape).map_err(|error| {
                ApiError::field("json_schema", format!("this cannot be followed: {error}"))
            })?;
            let prompts = context.prompts("prompt", completion.prompt)?;
            let (count, choices) = (prompts.len(), sampling.choices());
            check("n", count * choices <= most, &format!("such that there are at most {most} answers"))?;
            let (mut jobs, mut echoes) = (Vec::new(), Vec::new());
            for (index, prompt) in prompts.into_iter().enumerate() {
                let tokenizer = context.model.model.tokenizer();
                let text = echo.then(|| tokenizer.decode(&prompt, true));
                if context.server.options().log_prompts {
                    let prompt = tokenizer.decode(&prompt, false);
                    tracing::info!(request_id = context.request.0, prompt, "prompt");
                }
                echoes.extend(std::iter::repeat_n(text, choices));
                let logprobs = completion.logprobs.map(|count| count as usize);
                jobs.push(context.job(
                    prompt,
                    index * choices,
                    &sampling,
                    constraint.clone(),
                    logprobs,
                    &sender,
                )?);
            }
            Ok((jobs, echoes))
        })
        .await?;
    let tokens = jobs.iter().map(|job| job.prompt.len()).sum();
    let mut tally = Tally::new(context.request.clone(), context.model.clone(), tokens, echoes.len());
    tally.user = user;
    tally.text = context.server.options().log_prompts.then(String::new);
    let id = format!("cmpl-{:016x}", crate::random());
    let answer = CompletionAnswer::new(id, crate::registry::now(), tally, echoes);
    context.model.scheduler.submit(jobs)?;
    if stream {
        return EventStream::begin(answer, events, include_usage).await;
    }
    Ok(axum::Json(answer::collect(answer, events).await?).into_response())
}
