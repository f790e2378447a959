//! Responses that all endpoints share, for the OpenAPI document only.

use crate::error::ErrorBody;
use utoipa::{IntoResponses, ToSchema};

/// How a request to a model can fail.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum Refusals {
    /// A field is wrong
    #[response(status = 400)]
    Field(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Key(ErrorBody),
    /// The page's origin is not allowed
    #[response(status = 403)]
    Origin(ErrorBody),
    /// No such model
    #[response(status = 404)]
    Model(ErrorBody),
    /// The body did not arrive in time
    #[response(status = 408)]
    Slow(ErrorBody),
    /// The body is too long
    #[response(status = 413)]
    Long(ErrorBody),
    /// The body is compressed, but not with gzip
    #[response(status = 415)]
    Encoding(ErrorBody),
    /// Too many requests
    #[response(status = 429)]
    Rate(ErrorBody),
    /// A failure of the server
    #[response(status = 500)]
    Failure(ErrorBody),
    /// No room, or not ready
    #[response(status = 503)]
    Room(ErrorBody),
}

/// An event of a stream.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct ServerSentEvent {
    /// A piece of the answer as JSON (`ChatChunk` or `Completion`), `[DONE]`, or an error's body.
    data: String,
}
