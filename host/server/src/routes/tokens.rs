//! `POST /tokenize` and `/detokenize`, as llama.cpp's server has them.

use super::Context;
use crate::answer::RequestId;
use crate::api::models::{DetokenizeRequest, Text, TokenizeRequest, Tokens};
use crate::body::Body;
use crate::error::ApiError;
use crate::server::Server;
use axum::Json;
use axum::extract::{Extension, State};

/// Text to tokens.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "Tokens",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "The answer", body = Tokens),
        crate::openapi::Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn tokenize(
    State(server): State<Server>,
    Extension(request): Extension<RequestId>,
    body: Body,
) -> Result<Json<Tokens>, ApiError> {
    let TokenizeRequest { model, content, add_special } = body.parse()?;
    let context = Context::new(server, request, model.as_deref()).await?;
    let special = add_special.unwrap_or(false);
    let (_, tokens) = context.work(move |context| context.encode("content", &content, special)).await?;
    Ok(Json(Tokens { tokens }))
}

/// Tokens to text. Ids outside the vocabulary have none.
#[utoipa::path(
    post,
    path = "/detokenize",
    tag = "Tokens",
    request_body = DetokenizeRequest,
    responses(
        (status = 200, description = "The answer", body = Text),
        crate::openapi::Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn detokenize(
    State(server): State<Server>,
    Extension(request): Extension<RequestId>,
    body: Body,
) -> Result<Json<Text>, ApiError> {
    let DetokenizeRequest { model, tokens } = body.parse()?;
    let context = Context::new(server, request, model.as_deref()).await?;
    let tokens: Vec<_> = tokens.into_iter().map(|token| token.0).collect();
    let (_, content) =
        context.work(move |context| Ok(context.model.model.tokenizer().decode(&tokens, false))).await?;
    Ok(Json(Text { content }))
}
