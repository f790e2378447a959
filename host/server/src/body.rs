//! Request bodies: received and read within limits, with errors that name the field.

mod weight;

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
use std::borrow::Cow;
use std::io::Read as _;
use std::sync::Arc;

/// Bytes of memory that the values of a body may take, or six times those of the longest body.
const TREE: usize = 24 << 20;
/// Bytes of a body whose values may take megabytes of memory.
const LARGE: usize = 64 << 10;

/// A request body as it was received. Making a [`Text`] of it and reading that are work for a preparation slot.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    gzip: bool,
    /// Bytes that the text may have.
    most: usize,
    held: Arc<Held>,
}

/// The text of a request body.
#[derive(Debug)]
pub(crate) struct Text<'a>(Cow<'a, [u8]>);

impl FromRequest<Server> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, server: &Server) -> Result<Self, ApiError> {
        let options = server.options();
        let gzip = is_gzip(request.headers())?;
        let caller = request.extensions().get::<Caller>();
        let caller = caller.ok_or_else(|| ApiError::internal("a request without a caller has a body"))?;
        let mut held = server.body_memory().start(caller.client);
        let bytes = receive(request.into_body(), options.max_body, &mut held);
        let bytes = tokio::time::timeout(options.client_timeout, bytes).await;
        let bytes = bytes.unwrap_or_else(|_| {
            let message = "the request body did not arrive in time";
            Err(ApiError::refused(StatusCode::REQUEST_TIMEOUT, "body_timeout", message))
        })?;
        Ok(Body { bytes, gzip, most: options.max_body, held: Arc::new(held) })
    }
}

/// The bytes of a body, copied to one place as they come: a body in a million pieces would take many times its size.
///
/// # Errors
/// 413 if there are more than `most`, 503 if there is no memory for them, 400 if they break off.
async fn receive(mut body: axum::body::Body, most: usize, held: &mut Held) -> Result<Vec<u8>, ApiError> {
    // A client that announces too much is told so before it sends it.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(most));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |error| ApiError::request(format!("the request body cannot be read: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        held.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

impl Body {
    /// Its text, uncompressed.
    ///
    /// # Errors
    /// 400 if it is not the gzip that it claims to be; 413 if it is too long, or would take too much memory once it is read.
    pub(crate) fn text(&self) -> Result<Text<'_>, ApiError> {
        let text = if self.gzip {
            Cow::Owned(unzip(&self.bytes, self.most)?)
        } else {
            Cow::Borrowed(self.bytes.as_slice())
        };
        let most = TREE.max(6 * self.most);
        if !weight::is_within(most, &text) {
            let message = format!(
                "the request body has too many values: read as JSON, it takes more than {} MiB of memory; send fewer at a time",
                most >> 20
            );
            return Err(ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, "body_too_complex", message));
        }
        Ok(Text(text))
    }

    /// Whether its values may take megabytes of memory.
    pub(crate) fn may_be_large(&self) -> bool {
        self.gzip || self.bytes.len() > LARGE
    }

    /// What holds its place in memory.
    pub(crate) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }
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

impl Text<'_> {
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
        match std::str::from_utf8(&self.0).map(str::parse) {
            Ok(Ok(json)) => Ok(json),
            // What the engine's reader puts up with besides JSON.
            _ => Ok(Json::from(json::parse(&self.0).map_err(|error| wrong(&error))?)),
        }
    }

    /// Reads the fields of `T`, and all fields as they are.
    fn parse<T: DeserializeOwned>(&self) -> Result<(T, Value), ApiError> {
        let fields = json::parse(&self.0).map_err(|error| wrong(&error))?;
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
impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text(Cow::Owned(text.into_bytes()))
    }
}

#[cfg(test)]
mod tests;
