//! Request bodies: read within limits, with errors that name the field.

use crate::access::Client;
use crate::api::fields::{self, Fields};
use crate::api::object::{Object, path_and_problem};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::memory::Held;
use crate::server::Server;
use axum::extract::{FromRequest, Request};
use edgellm::chat::Json;
use edgellm::json::{self, JsonError};
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read as _;

/// The bytes of a request body.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// Returns the memory at the end.
    _held: Option<Held>,
}

impl FromRequest<Server> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Server) -> Result<Self, ApiError> {
        let options = server.options();
        let gzip = is_gzip(request.headers())?;
        let client =
            request.extensions().get::<Caller>().map_or(Client::Unknown, |caller| caller.client.clone());
        let mut held = server.body_memory().start(client);
        let body = collect(request.into_body(), options.max_body, &mut held);
        let collected = tokio::time::timeout(options.client_timeout, body).await;
        match collected {
            Err(_) => Err(ApiError::refused(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the request body did not arrive in time",
            )),
            Ok(Err(error)) => Err(error),
            Ok(Ok(bytes)) if gzip => {
                let bytes = unzip(&bytes, options.max_body)?;
                held.grow(bytes.len())?;
                Ok(Body { bytes, _held: Some(held) })
            }
            Ok(Ok(bytes)) => Ok(Body { bytes, _held: Some(held) }),
        }
    }
}

/// The bytes of a body, copied to one place as they come: a body in a million pieces would take many times its size.
///
/// # Errors
/// 413 if there are more than `most`, 503 if there is no memory for them, 400 if they break off.
async fn collect(mut body: axum::body::Body, most: usize, held: &mut Held) -> Result<Vec<u8>, ApiError> {
    // A client that announces too much is told so before it sends it.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(most));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::request(format!("the request body cannot be read: {error}")))?;
        // Trailers have no meaning here.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        held.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn too_large(most: usize) -> ApiError {
    let message = format!("the request body is longer than {most} bytes");
    ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

/// Whether the body is compressed.
///
/// # Errors
/// 415 for encodings other than gzip.
fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let names = encodings.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut names = names.map(<[u8]>::trim_ascii).filter(|name| !name.eq_ignore_ascii_case(b"identity"));
    match (names.next(), names.next()) {
        (None, _) => Ok(false),
        (Some(name), None) if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
            Ok(true)
        }
        _ => Err(ApiError::refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "request bodies may be compressed with gzip only: send this one as it is, or with Content-Encoding: gzip",
        )),
    }
}

/// The body that a gzip file holds.
///
/// # Errors
/// 400 if it is none, 413 if the body has more than `most` bytes.
fn unzip(file: &[u8], most: usize) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    let read = MultiGzDecoder::new(file).take(most as u64 + 1).read_to_end(&mut body);
    read.map_err(|_| ApiError::request("the request body is not the gzip that its Content-Encoding says"))?;
    if body.len() > most { Err(too_large(most)) } else { Ok(body) }
}

impl Body {
    /// Reads the request of an endpoint. Fields without a verdict are ignored.
    ///
    /// # Errors
    /// 400, with the name of the field that is wrong, or that asks for what the server cannot do.
    pub(crate) fn read<T: DeserializeOwned + Fields>(&self) -> Result<T, ApiError> {
        let (request, fields) = self.parse()?;
        fields::check::<T>(&fields)?;
        Ok(request)
    }

    /// The body with the order of its fields and the digits of its numbers.
    ///
    /// # Errors
    /// 400 if it is not JSON.
    pub(crate) fn json(&self) -> Result<Json, ApiError> {
        match std::str::from_utf8(&self.bytes).map(str::parse) {
            Ok(Ok(json)) => Ok(json),
            // What the engine's reader puts up with besides JSON.
            _ => Ok(Json::from(json::parse(&self.bytes).map_err(|error| wrong(&error))?)),
        }
    }

    /// Reads the fields of `T`, and all fields as they are.
    fn parse<T: DeserializeOwned>(&self) -> Result<(T, Value), ApiError> {
        let fields = json::parse(&self.bytes).map_err(|error| wrong(&error))?;
        let Object(request) = json::from_value(&fields).map_err(|error| wrong(&error))?;
        Ok((request, fields))
    }
}

/// 400 for a body that is not the JSON of a request.
fn wrong(error: &JsonError) -> ApiError {
    let (path, problem) = path_and_problem(error);
    if error.is_cut_off() {
        ApiError::request(format!("the body is not complete JSON: {problem}"))
    } else if path.is_empty() {
        ApiError::request(format!("the body is not the expected JSON: {problem}"))
    } else {
        ApiError::field(path.as_str(), format!("{path}: {problem}"))
    }
}

#[cfg(test)]
impl From<String> for Body {
    fn from(text: String) -> Self {
        Body { bytes: text.into_bytes(), _held: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::chat::{ChatBody, ChatRequest};
    use crate::api::completions::CompletionBody;
    use crate::api::sampling::Sampling;

    fn wrong<T: DeserializeOwned>(json: &str) -> String {
        let error = Body::from(json.to_string()).parse::<T>().map(|_| ()).unwrap_err();
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
        assert_eq!(wrong::<ChatBody>("{}"), "messages");
        assert_eq!(wrong::<ChatBody>(r#"{"messages": [{"role": "user"}, {}], "n": 1}"#), "messages[1].role");
        assert_eq!(wrong::<ChatBody>(r#"{"n": -1, "messages": []}"#), "n");
        assert_eq!(wrong::<ChatBody>(r#"{"messages": [], "stream_options": [true]}"#), "stream_options");
        assert_eq!(wrong::<ChatBody>("[]"), "none");
        assert_eq!(wrong::<CompletionBody>(r#"{"prompt": "", "logprobs": -1}"#), "logprobs");
        assert_eq!(wrong::<CompletionBody>(r#"{"prompt": "", "logit_bias": {"1": "x"}}"#), "logit_bias.1");
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
        for format in [r#"{"type": 0}"#, r#"{"type": "yaml"}"#, r#"["text"]"#, r#"{"type": "json_schema"}"#] {
            let chat = wrong::<ChatBody>(&format!(r#"{{"messages": [], "response_format": {format}}}"#));
            let plain =
                wrong::<CompletionBody>(&format!(r#"{{"prompt": "a", "response_format": {format}}}"#));
            assert!(chat.starts_with("response_format") && plain == chat, "{format}: {chat} {plain}");
        }
        assert_eq!(wrong::<Sampling>("{} {}"), "none");
        assert_eq!(wrong::<ChatBody>("{"), "none");
        assert_eq!(wrong::<ChatBody>(r#"{"messages": [{"role": "us"#), "none");
        assert_eq!(wrong::<CompletionBody>(r#"{"prompt": "a", }"#), "none");
        assert_eq!(wrong::<Sampling>("\u{1}"), "none");
        assert!(
            Body::from(r#"{"temperature": null, "unknown": [{}], "n": 2}"#.to_string())
                .parse::<Sampling>()
                .is_ok()
        );
    }

    #[test]
    fn bodies_are_read_as_clients_write_them() {
        let body = Body::from(
            r#"{"messages": [{"role": "assistant", "content": null, "name": null, "tool_calls": null}], "n": 1, "n": 2.0,
                "max_tokens": -1, "top_k": -1, "seed": -1, "stop": null, "stream_options": {"include_usage": null},
                "repetition_penalty": 1.1, "repeat_penalty": 1.2, "tools": null, "unknown": {"a": null}}"#
                .to_string(),
        );
        let ChatBody { chat, sampling } = body.read().unwrap();
        assert!(chat.tools.is_none() && chat.messages[0].0.content.is_none());
        assert_eq!(
            (sampling.n, sampling.limit().0, sampling.top_k, sampling.seed),
            (Some(2), None, Some(0), None)
        );
        assert_eq!(sampling.options(0).repetition_penalty, 1.1);
        let other =
            Body::from(r#"{"prompt": "a", "repeat_penalty": 1.2, "repetition_penalty": null}"#.to_string());
        let CompletionBody { sampling, .. } = other.read().unwrap();
        assert_eq!(sampling.options(0).repetition_penalty, 1.2);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("{{\"messages\": {}", "[".repeat(1 << 20));
        assert!(Body::from(deep.clone()).parse::<ChatRequest>().is_err());
        let unknown = format!("{{\"x\": {}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let _ = Body::from(unknown).parse::<Sampling>();
    }
}
