//! Bodies of requests: read within limits, and errors that name the field.

use crate::api::object::Object;
use crate::error::ApiError;
use crate::server::Server;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

/// The bytes of a request's body.
#[derive(Debug)]
pub(crate) struct Body(Vec<u8>);

impl FromRequest<Server> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Server) -> Result<Self, ApiError> {
        let options = server.options();
        let body = Limited::new(request.into_body(), options.max_body);
        let collected = tokio::time::timeout(options.client_timeout, body.collect()).await;
        match collected {
            Err(_) => Err(ApiError::refused(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the request's body did not come in time",
            )),
            Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the request's body is longer than {} bytes", options.max_body),
            )),
            Ok(Err(error)) => Err(ApiError::request(format!("the request's body cannot be read: {error}"))),
            Ok(Ok(collected)) => Ok(Body(collected.to_bytes().to_vec())),
        }
    }
}

impl Body {
    /// Reads the fields that `T` has; others are passed over.
    ///
    /// # Errors
    /// 400 with the name of the field that is wrong.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let mut json = serde_json::Deserializer::from_slice(&self.0);
        let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let problem = error.into_inner().to_string();
            match missing(&problem).map(|field| (path.as_str(), field)) {
                Some((".", field)) => ApiError::field(field, problem.as_str()),
                Some((path, field)) => ApiError::field(format!("{path}.{field}"), problem.as_str()),
                None if path == "." => {
                    ApiError::request(format!("the body is not the JSON wanted: {problem}"))
                }
                None => ApiError::field(path.as_str(), format!("{path}: {problem}")),
            }
        })?;
        json.end().map_err(|error| ApiError::request(format!("the body goes on after its JSON: {error}")))?;
        Ok(value)
    }
}

/// The field that serde misses.
fn missing(problem: &str) -> Option<&str> {
    problem.strip_prefix("missing field `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::chat::ChatRequest;
    use crate::api::sampling::Sampling;

    fn wrong<T: DeserializeOwned>(json: &str) -> String {
        let error = Body(json.into()).parse::<T>().map(|_| ()).unwrap_err();
        serde_json::to_value(error.body()).unwrap()["error"]["param"].as_str().unwrap_or("none").to_string()
    }

    #[test]
    fn errors_name_the_field() {
        assert_eq!(wrong::<ChatRequest>("{}"), "messages");
        assert_eq!(wrong::<ChatRequest>(r#"{"messages": [{"role": "user"}, {}]}"#), "messages[1].role");
        assert_eq!(
            wrong::<ChatRequest>(r#"{"messages": [{"role": "user", "content": 3}]}"#),
            "messages[0].content"
        );
        assert_eq!(wrong::<ChatRequest>(r#"{"messages": "hi"}"#), "messages");
        assert_eq!(wrong::<Sampling>(r#"{"temperature": "hot"}"#), "temperature");
        assert_eq!(wrong::<Sampling>(r#"{"n": -1}"#), "n");
        assert_eq!(wrong::<Sampling>(r#"{"stop": [1]}"#), "stop");
        // Lists are no objects, though serde would take them.
        assert_eq!(wrong::<Sampling>("[0.5]"), "none");
        assert_eq!(wrong::<Sampling>(r#"{"stream_options": [true]}"#), "stream_options");
        assert_eq!(wrong::<ChatRequest>(r#"{"messages": [["user", "x"]]}"#), "messages[0]");
        assert_eq!(
            wrong::<ChatRequest>(
                r#"{"messages": [], "response_format": {"type": "json_schema", "json_schema": [null, null]}}"#
            ),
            "response_format"
        );
        assert_eq!(wrong::<Sampling>("{} {}"), "none");
        assert_eq!(wrong::<Sampling>("\u{1}"), "none");
        assert!(
            Body(br#"{"temperature": null, "unknown": [{}], "n": 2}"#.to_vec()).parse::<Sampling>().is_ok()
        );
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("{{\"messages\": {}", "[".repeat(1 << 20));
        assert!(Body(deep.clone().into()).parse::<ChatRequest>().is_err());
        let unknown = format!("{{\"x\": {}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let _ = Body(unknown.into()).parse::<Sampling>();
    }
}
