//! `GET /v1/models`, `/health` and `/metrics`.

use crate::api::models::{Health, ModelCard, ModelList, Quality};
use crate::error::ApiError;
use crate::registry::ModelSource;
use crate::server::Server;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use tower_http::services::ServeFile;

/// All models.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "OpenAI",
    responses(
        (status = 200, description = "The answer", body = ModelList),
        (status = 401, description = "No valid API key", body = crate::error::ErrorBody),
        (status = 403, description = "The page's origin is not allowed", body = crate::error::ErrorBody),
        (status = 429, description = "Too many requests", body = crate::error::ErrorBody)
    ),
    security(("key" = []), ())
)]
pub(crate) async fn list(State(server): State<Server>) -> Json<ModelList> {
    let data = server.models().sources().iter().map(|source| card(&server, source)).collect();
    Json(ModelList { object: "list", data })
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = "OpenAI",
    params(("id" = String, Path, description = "A name that /v1/models lists")),
    responses(
        (status = 200, description = "The answer", body = ModelCard),
        (status = 401, description = "No valid API key", body = crate::error::ErrorBody),
        (status = 403, description = "The page's origin is not allowed", body = crate::error::ErrorBody),
        (status = 404, description = "No such model", body = crate::error::ErrorBody),
        (status = 429, description = "Too many requests", body = crate::error::ErrorBody)
    ),
    security(("key" = []), ())
)]
pub(crate) async fn get(
    State(server): State<Server>,
    Path(id): Path<String>,
) -> Result<Json<ModelCard>, ApiError> {
    Ok(Json(card(&server, server.models().source(Some(&id))?)))
}

fn card(server: &Server, source: &ModelSource) -> ModelCard {
    let loaded = server.models().loaded().into_iter().find(|loaded| loaded.id == source.id);
    ModelCard {
        id: source.id.clone(),
        object: "model",
        created: source.created,
        owned_by: "edgellm",
        loaded: loaded.is_some(),
        context_length: loaded.as_ref().map(|loaded| loaded.context),
        bytes: source.file.as_ref().and_then(|path| std::fs::metadata(path).ok()).map(|found| found.len()),
        quality: loaded
            .and_then(|loaded| loaded.model.metadata().quantization.quality.clone())
            .map(Quality::from),
    }
}

/// The file of a model or a range of it, if the server was started with `--allow-download`.
#[utoipa::path(
    get,
    path = "/v1/models/{id}/file",
    tag = "Models",
    params(("id" = String, Path, description = "A name that /v1/models lists")),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The range of it", content_type = "application/octet-stream"),
        (status = 304, description = "Not modified"),
        (status = 401, description = "No valid API key", body = crate::error::ErrorBody),
        (status = 403, description = "Downloads are not allowed, or the page's origin is not", body = crate::error::ErrorBody),
        (status = 404, description = "No such model", body = crate::error::ErrorBody),
        (status = 412, description = "Modified"),
        (status = 416, description = "The file has no such range"),
        (status = 429, description = "Too many requests", body = crate::error::ErrorBody)
    ),
    security(("key" = []), ())
)]
pub(crate) async fn file(
    State(server): State<Server>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let Some(path) = &server.models().source(Some(&id))?.file else {
        let message = "this server does not offer models for download: start it with --allow-download";
        return Err(ApiError::refused(StatusCode::FORBIDDEN, "download_not_allowed", message));
    };
    // The path comes from the command line; only the headers of the request matter.
    let mut file = ServeFile::new(path);
    let response = file.try_call(request).await.map_err(|error| {
        tracing::error!(model = id, %error, "cannot be read");
        ApiError::internal(format!("the model {id:?} cannot be read: see the server's log"))
    })?;
    Ok(response.into_response())
}

/// 200 if requests are answered, 503 while models are loaded or the server drains.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operation",
    responses(
        (status = 200, description = "The answer", body = Health),
        (status = 503, description = "Loading or draining", body = Health)
    )
)]
pub(crate) async fn health(State(server): State<Server>) -> Response {
    let status = server.health();
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Health { status })).into_response()
}

/// The metrics, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operation",
    responses(
        (status = 200, description = "The answer", body = String, content_type = "text/plain"),
        (status = 401, description = "No valid API key", body = crate::error::ErrorBody),
        (status = 403, description = "The page's origin is not allowed", body = crate::error::ErrorBody),
        (status = 429, description = "Too many requests", body = crate::error::ErrorBody)
    ),
    security(("key" = []), ())
)]
pub(crate) async fn metrics(State(server): State<Server>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], server.metrics().text())
        .into_response()
}
