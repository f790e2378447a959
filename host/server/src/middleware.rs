//! What every request passes through: identifier, log and metrics, errors in our shape, access control.

use crate::access::{self, Client};
use crate::caller::Caller;
use crate::connections::Spare;
use crate::error::ApiError;
use crate::host;
use crate::random::random;
use crate::request_id::RequestId;
use crate::server::Server;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::time::Instant;

/// The path that tells whether the server is well, whoever asks.
pub(crate) const HEALTH: &str = "/health";

/// Gives the request an identifier, the client's own if it is usable, and returns it in the response.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let own = request.headers().get(&NAME).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let id = own.filter(usable).map_or_else(|| format!("req_{:016x}", random()), str::to_string);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(NAME, value);
    }
    response
}

/// Counts and logs the request.
pub(crate) async fn observe(State(server): State<Server>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // The route, not the path: clients could otherwise create counters without end.
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_string();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let response = next.run(request).await;
    let status = response.status();
    let metrics = server.metrics();
    metrics.requests.with_label_values(&[path.as_str(), status.as_str()]).inc();
    let error = response.extensions().get::<ApiError>();
    if let Some(error) = error {
        metrics.rejected.with_label_values(&[error.reason()]).inc();
    }
    // What bodies hold is for the log only where prompts are.
    let prompts = server.options().log_prompts;
    let whole = error.filter(|_| prompts).map(ToString::to_string);
    let detail = whole.as_deref().or(error.and_then(ApiError::unquoting));
    tracing::info!(
        request_id = id,
        method = method.as_str(),
        path,
        status = status.as_u16(),
        ms = started.elapsed().as_millis() as u64,
        error = error.map(ApiError::reason),
        field = error.and_then(ApiError::field_name),
        detail,
        "request"
    );
    response
}

/// Gives errors of the libraries below, such as 400 for a path that is not UTF-8, the shape of ours.
pub(crate) async fn explain(request: Request, next: Next) -> Response {
    let (parts, body) = next.run(request).await.into_parts();
    let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let (code, message) = match parts.status {
        status if is_json || !(status.is_client_error() || status.is_server_error()) => {
            return Response::from_parts(parts, body);
        }
        StatusCode::BAD_REQUEST => ("invalid_path", "the path is not percent-encoded UTF-8"),
        StatusCode::PRECONDITION_FAILED => ("modified", "the file is not the one that the request asks for"),
        StatusCode::RANGE_NOT_SATISFIABLE => ("invalid_range", "the file has no such range"),
        _ => ("refused", "the request was refused: see /docs for the endpoints"),
    };
    let mut response = ApiError::refused(parts.status, code, message).into_response();
    for (name, value) in &parts.headers {
        // Those of the old body do not fit the new one.
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// Refuses requests without a valid Host header, and those that address a server without API keys by a foreign name.
/// `/health` answers to any name: it tells no more than that somebody listens, and probes use names of their own.
pub(crate) async fn addressed(
    State(server): State<Server>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let host = host::addressed(&request)?;
    if server.keys().is_empty() && request.uri().path() != HEALTH {
        server.allowed_hosts().check(host.as_ref())?;
    }
    Ok(next.run(request).await)
}

/// Refuses requests on a connection beyond the maximum, except for `/health`.
pub(crate) async fn room(request: Request, next: Next) -> Result<Response, ApiError> {
    if request.extensions().get::<Spare>().is_some() && request.uri().path() != HEALTH {
        let message = "the server has no room for another connection: try again, or use fewer at once";
        return Err(ApiError::unavailable("too_many_connections", message, 1));
    }
    Ok(next.run(request).await)
}

/// Lets a request through, or answers it with 401, 403 or 429.
pub(crate) async fn guard(
    State(server): State<Server>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    access::check_origin(headers, &server.options().cors_origins)?;
    let mut client =
        access::address(&request, server.options().trust_proxy).map_or(Client::Unknown, Client::Address);
    if !server.keys().is_empty() {
        let Some(index) = access::bearer(headers).and_then(|key| server.keys().find(key)) else {
            // Guesses count towards the rate limit, too.
            server.rates().map_or(Ok(()), |rates| rates.check(&client))?;
            let message = "no valid API key: send `Authorization: Bearer KEY`";
            return Err(ApiError::refused(StatusCode::UNAUTHORIZED, "invalid_api_key", message));
        };
        client = Client::Key(index);
    }
    server.rates().map_or(Ok(()), |rates| rates.check(&client))?;
    if let Some(id) = request.extensions().get::<RequestId>().cloned() {
        request.extensions_mut().insert(Caller { request: id, client });
    }
    Ok(next.run(request).await)
}
