//! The app: which endpoint answers what, and what every request goes through.

use crate::access;
use crate::answer::RequestId;
use crate::error::ApiError;
use crate::openapi;
use crate::page;
use crate::routes::{chat, completions, embeddings, models, tokens};
use crate::server::Server;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use std::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Headers of answers that pages of allowed origins may read; those of downloads let them go on where one broke off.
const EXPOSED: [HeaderName; 4] =
    [HeaderName::from_static("x-request-id"), header::RETRY_AFTER, header::CONTENT_RANGE, header::ETAG];

/// All endpoints of `server`, as one service.
pub fn app(server: &Server) -> Router {
    let guarded = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::get))
        .route("/v1/models/{id}/file", get(models::file))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/metrics", get(models::metrics))
        .route_layer(from_fn_with_state(server.clone(), access::guard));
    guarded
        .merge(page::routes())
        .route("/health", get(models::health))
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::page))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(cors(&server.options().cors_origins))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(server.clone(), observe))
        .layer(from_fn(identify))
        .with_state(server.clone())
}

async fn no_such_path(request: Request) -> ApiError {
    let message = format!("there is no {}: /docs lists what there is", request.uri().path());
    ApiError::refused(StatusCode::NOT_FOUND, "not_found", message)
}

async fn no_such_method(request: Request) -> ApiError {
    let message =
        format!("{} does not take {}: /docs says what it takes", request.uri().path(), request.method());
    ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request's handler panicked");
    axum::response::IntoResponse::into_response(ApiError::internal("internal error: see the server's log"))
}

/// Pages of these origins may read answers; by default none may.
fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
}

/// Gives the request a name, its own if it has a sound one, and writes it into the response.
async fn identify(mut request: Request, next: Next) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-request-id");
    let own = request.headers().get(&NAME).and_then(|id| id.to_str().ok());
    let sound = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let id = own.filter(sound).map_or_else(|| format!("req_{:016x}", crate::random()), str::to_string);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(NAME, value);
    }
    response
}

/// Counts the request, and writes it into the log.
async fn observe(State(server): State<Server>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // Not the path itself: a counter for whatever a client makes up would grow without end.
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
