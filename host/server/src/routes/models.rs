//! `GET /v1/models`, `/health` and `/metrics`.

use crate::api::models::{Health, ModelCard, ModelList};
use crate::error::ApiError;
use crate::registry::ModelSource;
use crate::server::Server;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

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
        context_length: loaded.map(|loaded| loaded.context),
    }
}

/// 200 if requests are answered, 503 while models are being loaded or the server ends.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operation",
    responses(
        (status = 200, description = "The answer", body = Health),
        (status = 503, description = "Loading or ending", body = Health)
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
