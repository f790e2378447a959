//! `POST /tokenize` and `POST /detokenize`, as in llama.cpp's server.

use super::context::Context;
use crate::api::models::{
    DetokenizeRequest, Piece, SpelledToken, Text, TokenizeRequest, TokenizedText, Tokens,
};
use crate::api::refusals::Refusals;
use crate::body::{self, Body};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::memory::Held;
use crate::server::Server;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use edgellm::tokenizer::Detokenizer;
use http::{HeaderValue, header};
use serde::Serialize;

/// Bytes of a text to tokenize.
const MAX_TEXT: usize = 1 << 20;
/// Tokens of a text: about those of so much English.
const MAX_TOKENS: usize = 1 << 18;
/// Bytes of the text of tokens.
const MAX_DETOKENIZED: usize = 16 << 20;

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
) -> Result<Response, ApiError> {
    let work = |context: &Context, request: TokenizeRequest, _: &body::Text<'_>| {
        let TokenizeRequest { content, add_special, parse_special, with_pieces, .. } = request;
        if content.len() > MAX_TEXT {
            let message = format!("content must be at most {MAX_TEXT} bytes: tokenize it in parts");
            return Err(ApiError::field("content", message).code("text_too_long"));
        }
        let (tokenizer, add_special) = (context.model.model.tokenizer(), add_special.unwrap_or(false));
        let tokens = context.up_to(MAX_TOKENS, "content", |limit| {
            if parse_special.unwrap_or(true) {
                return tokenizer.encode_within(&content, add_special, limit);
            }
            let plain = tokenizer.encode_plain_within(&content, limit)?;
            Ok(if add_special { tokenizer.surround(&plain) } else { plain })
        });
        let tokens = tokens.map_err(|error| {
            let message = || format!("content has more than {MAX_TOKENS} tokens: tokenize it in parts");
            error.unwrap_or_else(|| ApiError::field("content", message()).code("text_too_long"))
        })?;
        let spelled = |id| SpelledToken { id, piece: piece(tokenizer.token_bytes(id).unwrap_or_default()) };
        let tokens = if with_pieces.unwrap_or(false) {
            Tokens::Spelled(tokens.into_iter().map(spelled).collect())
        } else {
            Tokens::Ids(tokens)
        };
        written(context, &TokenizedText { tokens })
    };
    Ok(Context::prepare(server, caller, body, work).await?.1)
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
) -> Result<Response, ApiError> {
    let work = |context: &Context, request: DetokenizeRequest, _: &body::Text<'_>| {
        if request.tokens.len() > MAX_TOKENS {
            let message = format!("tokens must be at most {MAX_TOKENS}: detokenize them in parts");
            return Err(ApiError::field("tokens", message).code("text_too_long"));
        }
        let mut stream = Detokenizer::new(context.model.model.tokenizer(), false);
        let mut content = String::new();
        for token in request.tokens {
            stream.push(token.0, &mut content);
            if content.len() > MAX_DETOKENIZED {
                let message = format!(
                    "tokens have more than {MAX_DETOKENIZED} bytes of text: detokenize them in parts"
                );
                return Err(ApiError::field("tokens", message).code("text_too_long"));
            }
        }
        stream.finish(&mut content);
        written(context, &Text { content })
    };
    Ok(Context::prepare(server, caller, body, work).await?.1)
}

/// The JSON of an answer. It counts as memory of the client's requests until the client has received it.
fn written(context: &Context, answer: &impl Serialize) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(answer).map_err(|error| ApiError::internal(error.to_string()))?;
    let mut held = context.server.body_memory().start(context.caller.client);
    held.grow(json.len())?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], Bytes::from_owner(Written { json, _held: held })).into_response())
}

/// Bytes with their place in memory.
struct Written {
    json: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}
