//! What every request passes through: identifier, log and metrics, access control.

use crate::access::{self, Client};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::random::random;
use crate::request_id::RequestId;
use crate::server::Server;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use std::time::Instant;

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
    tracing::info!(
        request_id = id,
        method = method.as_str(),
        path,
        status = status.as_u16(),
        ms = started.elapsed().as_millis() as u64,
        error = error.map(tracing::field::display),
        "request"
    );
    response
}

/// Lets a request through, or answers it with 401, 403 or 429.
pub(crate) async fn guard(
    State(server): State<Server>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    if server.keys().is_empty() {
        access::check_host(headers, &server.options().allowed_hosts)?;
    }
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
