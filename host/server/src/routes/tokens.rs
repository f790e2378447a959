//! `POST /tokenize` and `POST /detokenize`, as in llama.cpp's server.

use super::context::Context;
use crate::api::models::{DetokenizeRequest, Text, TokenizeRequest, Tokens};
use crate::api::refusals::Refusals;
use crate::body::Body;
use crate::error::ApiError;
use crate::request_id::RequestId;
use crate::server::Server;
use axum::Json;
use axum::extract::{Extension, State};

/// Tokenizes a text.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "Tokens",
    request_body = TokenizeRequest,
    responses(
        (status = 200, description = "The answer", body = Tokens),
        Refusals
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

/// Detokenizes tokens. Ids outside the vocabulary have no text.
#[utoipa::path(
    post,
    path = "/detokenize",
    tag = "Tokens",
    request_body = DetokenizeRequest,
    responses(
        (status = 200, description = "The answer", body = Text),
        Refusals
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
