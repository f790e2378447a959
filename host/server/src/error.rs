//! The error of the HTTP interface, in the shape of OpenAI's.

use crate::preparation::Unprepared;
use crate::scheduler::{Failure, Refused};
use axum::response::{IntoResponse, Response};
use edgellm::text::printable;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    status: StatusCode,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    /// Seconds after which it makes sense to try again.
    retry_after: Option<u64>,
}

/// Characters of a message, at most: it may quote a request, which can be long.
const MESSAGE: usize = 1000;
/// Characters of the name of a field, at most.
const PARAM: usize = 200;

/// The body of every error response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// A sentence that says what to do.
    message: String,
    /// Class of the error.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field of the request that is wrong.
    param: Option<String>,
    /// A code for programs.
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        let message = printable(&message.into(), MESSAGE).into_owned();
        ApiError { status, message, kind, param: None, code: None, retry_after: None }
    }

    /// 400: the field `param` is wrong.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        error.param = Some(printable(&param.into(), PARAM).into_owned());
        error
    }

    /// 400: the request as a whole is wrong.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A request that HTTP or access control refuses.
    pub(crate) fn refused(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", message).code(code)
    }

    /// 404: no such model.
    pub(crate) fn no_model(name: &str, there_are: &[&str]) -> Self {
        let name = printable(name, 100);
        let message = format!("the model {name:?} does not exist; available: {}", there_are.join(", "));
        let mut error = Self::refused(StatusCode::NOT_FOUND, "model_not_found", message);
        error.param = Some("model".into());
        error
    }

    /// 429: too many requests from one client.
    pub(crate) fn too_many(seconds: u64) -> Self {
        let message = format!("too many requests: try again in {seconds} s");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        error.retry_after = Some(seconds);
        error.code("rate_limit_exceeded")
    }

    /// 503: not now.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>, retry_after: u64) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message).code(code);
        error.retry_after = Some(retry_after);
        error
    }

    /// 500: the server's fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// 500: the model's thread sends no events any more.
    pub(crate) fn scheduler_gone() -> Self {
        Self::internal("the model's thread has ended: see the server's log")
    }

    /// With a code for programs.
    #[must_use]
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Why the request was rejected, for the metrics.
    pub(crate) fn reason(&self) -> &'static str {
        self.code.unwrap_or(match self.status.as_u16() {
            400..500 => "invalid_request",
            _ => "internal",
        })
    }

    /// The field that is wrong, without what is inside it.
    pub(crate) fn field_name(&self) -> Option<&str> {
        self.param.as_deref()?.split(['.', '[']).next()
    }

    /// The message, unless it may quote what the body of a request holds.
    pub(crate) fn unquoting(&self) -> Option<&str> {
        (self.status != StatusCode::BAD_REQUEST).then_some(&self.message)
    }

    /// The body.
    pub(crate) fn body(&self) -> ErrorBody {
        let (message, param) = (self.message.clone(), self.param.clone());
        ErrorBody { error: ErrorDetail { message, kind: self.kind, param, code: self.code } }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::QueueFull { .. } => ApiError::unavailable("queue_full", message, 2),
            Refused::TooLarge { .. } => ApiError::field("max_tokens", message).code("request_too_large"),
            Refused::Closed => ApiError::unavailable("shutting_down", message, 10),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Timeout => ApiError::unavailable("timeout", message, 5),
            Failure::Displaced => ApiError::unavailable("queue_full", message, 2),
            Failure::ShuttingDown => ApiError::unavailable("shutting_down", message, 10),
            Failure::DeadEnd => ApiError::request(message).code("schema_dead_end"),
            Failure::Runner(_) | Failure::Panicked => ApiError::internal(message),
        }
    }
}

impl From<Unprepared> for ApiError {
    fn from(unprepared: Unprepared) -> Self {
        let message = unprepared.to_string();
        match unprepared {
            Unprepared::QueueFull { .. } => ApiError::unavailable("queue_full", message, 2),
            Unprepared::Stuck => ApiError::unavailable("preparation_stuck", message, 5),
            Unprepared::Timeout | Unprepared::GivenUp => ApiError::unavailable("timeout", message, 5),
            Unprepared::TooSlow { .. } => ApiError::request(message).code("preparation_timeout"),
            Unprepared::Panicked => ApiError::internal(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the metrics and the log.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_errors_quote_is_cut() {
        let long = "\u{1b}".repeat(4 << 20);
        for error in [
            ApiError::field(long.clone(), long.clone()),
            ApiError::request(format!("a\n{long}")),
            ApiError::no_model(&long, &["good"]),
        ] {
            let body = serde_json::to_string(&error.body()).unwrap();
            assert!(body.len() < 20_000, "{}", body.len());
            assert!(!error.to_string().contains(['\n', '\u{1b}']), "{error}");
        }
        assert!(ApiError::no_model(&long, &["good"]).to_string().ends_with("available: good"));
    }

    #[test]
    fn bodies_are_not_quoted_in_the_log() {
        let error = ApiError::field("messages[0].secret", "the role \"secret\" is unknown");
        assert_eq!((error.field_name(), error.unquoting()), (Some("messages"), None));
        assert!(ApiError::internal("broken").unquoting().is_some());
    }
}
