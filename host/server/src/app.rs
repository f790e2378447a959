//! The app: all routes and the layers around them.

use crate::error::ApiError;
use crate::middleware;
use crate::openapi;
use crate::page;
use crate::routes::{chat, completions, embeddings, models, tokens};
use crate::server::Server;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use edgellm::text::printable;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use std::borrow::Cow;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Response headers that pages of allowed origins may read; the last two let them resume downloads.
const EXPOSED: [HeaderName; 4] =
    [HeaderName::from_static("x-request-id"), header::RETRY_AFTER, header::CONTENT_RANGE, header::ETAG];

/// All endpoints of `server` as one service.
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
        .route_layer(from_fn_with_state(server.clone(), middleware::guard));
    guarded
        .merge(page::routes())
        .route(middleware::HEALTH, get(models::health))
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::page))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(cors(&server.options().cors_origins))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(server.clone(), middleware::addressed))
        .layer(from_fn(middleware::room))
        .layer(from_fn(middleware::explain))
        .layer(from_fn_with_state(server.clone(), middleware::observe))
        .layer(from_fn(middleware::identify))
        .with_state(server.clone())
}

async fn no_such_path(request: Request) -> ApiError {
    let message = format!("there is no {}: see /docs for the endpoints", path(&request));
    ApiError::refused(StatusCode::NOT_FOUND, "not_found", message)
}

async fn no_such_method(request: Request) -> ApiError {
    let method = printable(request.method().as_str(), 100);
    let message = format!("{} does not support {method}: see /docs for the methods", path(&request));
    ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// The path of a request, for a message.
fn path(request: &Request) -> Cow<'_, str> {
    printable(request.uri().path(), 200)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request's handler panicked");
    axum::response::IntoResponse::into_response(ApiError::internal("internal error: see the server's log"))
}

/// Lets pages of these origins read responses; by default none may.
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
