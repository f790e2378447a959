//! The OpenAPI document, made of the types that requests are read with, and the page to try it.

use crate::api::chat::ChatRequest;
use crate::api::completions::CompletionRequest;
use crate::api::sampling::Sampling;
use crate::routes::{chat, completions, embeddings, models, tokens};
use axum::response::Html;
use serde_json::{Value, json};
use std::sync::LazyLock;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(title = "EdgeLLM", description = "An OpenAI-compatible server. Fields that are not listed are accepted."),
    paths(
        chat::create,
        completions::create,
        embeddings::create,
        models::list,
        models::get,
        models::health,
        models::metrics,
        tokens::tokenize,
        tokens::detokenize,
    ),
    modifiers(&Keys)
)]
struct Api;

/// The key in the `Authorization` header.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// The body of `/v1/chat/completions`: both structures are read from the same object.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct ChatBody {
    #[serde(flatten)]
    chat: ChatRequest,
    #[serde(flatten)]
    sampling: Sampling,
}

/// The body of `/v1/completions`.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct CompletionBody {
    #[serde(flatten)]
    completion: CompletionRequest,
    #[serde(flatten)]
    sampling: Sampling,
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    // What derived schemas cannot say.
    schemas["Sampling"]["properties"]["logit_bias"]["propertyNames"] = json!({"pattern": "^[0-9]{1,9}$"});
    schemas["Sampling"]["properties"]["logit_bias"]["additionalProperties"] =
        json!({"type": "number", "minimum": -100, "maximum": 100});
    document
});

/// The OpenAPI document as JSON.
pub fn document() -> String {
    DOCUMENT.to_string()
}

pub(crate) async fn json() -> axum::Json<&'static Value> {
    axum::Json(&DOCUMENT)
}

/// A page without anything from elsewhere: a board may have no way to the internet.
pub(crate) async fn page() -> Html<&'static str> {
    Html(include_str!("openapi.html"))
}
