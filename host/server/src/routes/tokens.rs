//! `POST /tokenize` and `POST /detokenize`, as in llama.cpp's server.

use super::context::Context;
use crate::api::models::{
    DetokenizeRequest, Piece, SpelledToken, Text, TokenizeRequest, TokenizedText, Tokens,
};
use crate::api::refusals::Refusals;
use crate::body::Body;
use crate::caller::Caller;
use crate::error::ApiError;
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
        (status = 200, description = "The answer", body = TokenizedText),
        Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn tokenize(
    State(server): State<Server>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<TokenizedText>, ApiError> {
    let TokenizeRequest { model, content, add_special, parse_special, with_pieces } = body.read()?;
    let context = Context::new(server, caller, model.as_deref()).await?;
    let add_special = add_special.unwrap_or(false);
    let work = move |context: &Context| {
        let tokenizer = context.model.model.tokenizer();
        let tokens = if parse_special.unwrap_or(true) {
            context.encode("content", &content, add_special)?
        } else {
            let plain = tokenizer.encode_plain(&content);
            let plain = plain.map_err(|error| ApiError::field("content", error.to_string()))?;
            if add_special { tokenizer.surround(&plain) } else { plain }
        };
        if !with_pieces.unwrap_or(false) {
            return Ok(Tokens::Ids(tokens));
        }
        let spelled = |id| SpelledToken { id, piece: piece(tokenizer.token_bytes(id).unwrap_or_default()) };
        Ok(Tokens::Spelled(tokens.into_iter().map(spelled).collect()))
    };
    let (_, tokens) = context.work(work).await?;
    Ok(Json(TokenizedText { tokens }))
}

/// The text of a token, or its bytes, if they are only part of a character.
fn piece(bytes: Vec<u8>) -> Piece {
    String::from_utf8(bytes).map_or_else(|error| Piece::Bytes(error.into_bytes()), Piece::Text)
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
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Text>, ApiError> {
    let DetokenizeRequest { model, tokens } = body.read()?;
    let context = Context::new(server, caller, model.as_deref()).await?;
    let tokens: Vec<_> = tokens.into_iter().map(|token| token.0).collect();
    let (_, content) =
        context.work(move |context| Ok(context.model.model.tokenizer().decode(&tokens, false))).await?;
    Ok(Json(Text { content }))
}
