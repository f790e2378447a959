//! The OpenAPI document, made of the types that requests are read with, and the page to try it.

use crate::api::chat::ChatRequest;
use crate::api::completions::CompletionRequest;
use crate::api::sampling::Sampling;
use crate::error::ErrorBody;
use crate::routes::{chat, completions, embeddings, models, tokens};
use crate::server::Server;
use axum::extract::State;
use axum::response::Html;
use serde_json::{Value, json};
use std::sync::LazyLock;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(title = "EdgeLLM", description = "An OpenAI-compatible server. Fields that are not listed are accepted."),
    paths(
        chat::create,
        completions::create,
        embeddings::create,
        models::list,
        models::get,
        models::file,
        models::health,
        models::metrics,
        tokens::tokenize,
        tokens::detokenize,
    ),
    // What `data` of the events holds, but for the last, which is [DONE].
    components(schemas(crate::api::chat::ChatChunk, crate::api::chat::Part)),
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

/// How a request that needs a model can fail.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(crate) enum Refusals {
    /// A field is wrong
    #[response(status = 400)]
    Field(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Key(ErrorBody),
    /// The page's origin is not allowed
    #[response(status = 403)]
    Origin(ErrorBody),
    /// No such model
    #[response(status = 404)]
    Model(ErrorBody),
    /// The body did not come in time
    #[response(status = 408)]
    Slow(ErrorBody),
    /// The body is too long
    #[response(status = 413)]
    Long(ErrorBody),
    /// Too many requests
    #[response(status = 429)]
    Rate(ErrorBody),
    /// A failure of the server
    #[response(status = 500)]
    Failure(ErrorBody),
    /// No room, or not ready
    #[response(status = 503)]
    Room(ErrorBody),
}

/// An event of a stream.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(crate) struct ServerSentEvent {
    /// A piece of the answer as JSON (`ChatChunk` or `Completion`), `[DONE]`, or an error's body.
    data: String,
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

/// What derived schemas cannot say.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    let sampling = &mut schemas["Sampling"]["properties"];
    let text = json!({"type": "string", "minLength": 1});
    sampling["stop"]["oneOf"] =
        json!([{"type": "null"}, text, {"type": "array", "items": text, "maxItems": 16}]);
    sampling["logit_bias"]["propertyNames"] = json!({"pattern": "^[0-9]{1,9}$"});
    sampling["logit_bias"]["additionalProperties"] =
        json!({"type": "number", "minimum": -100, "maximum": 100});
    schemas["Content"]["oneOf"][1]["items"] = json!({"$ref": "#/components/schemas/Part"});
    // Only the assistant may say nothing.
    schemas["ChatMessage"]["anyOf"] = json!([
        {"properties": {"role": {"const": "assistant"}}},
        {"required": ["content"], "properties": {"content": {"not": {"type": "null"}}}}
    ]);
    schemas["JsonSchema"] = json!({
        "type": "object",
        "description": "A JSON schema.",
        "properties": {
            "type": {"enum": ["object", "array", "string", "number", "integer", "boolean", "null"]}
        }
    });
    let schema = json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/JsonSchema"}]});
    for (owner, field) in
        [("NamedSchema", "schema"), ("FunctionSpec", "parameters"), ("CompletionRequest", "json_schema")]
    {
        schemas[owner]["properties"][field] = schema.clone();
    }
    // A name must be one of `tools`, which schemas cannot say.
    schemas["ChatRequest"]["properties"]["tool_choice"] = json!({
        "oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/ToolMode"}],
        "description": "Whether tools are called. Also {\"type\": \"function\", \"function\": {\"name\": one of tools}}."
    });
    schemas["ChatRequest"]["if"] =
        json!({"properties": {"tool_choice": {"const": "required"}}, "required": ["tool_choice"]});
    schemas["ChatRequest"]["then"] =
        json!({"properties": {"tools": {"type": "array", "minItems": 1}}, "required": ["tools"]});
    document
});

/// The document of `server`: with its limits, and with what its models have in common.
pub(crate) async fn json(State(server): State<Server>) -> axum::Json<Value> {
    let mut document = DOCUMENT.clone();
    let schemas = &mut document["components"]["schemas"];
    let options = server.options();
    let loaded = server.models().loaded();
    let configs = || loaded.iter().map(|loaded| loaded.model.config());
    let tokens = json!({"type": "integer", "minimum": 0,
        "maximum": configs().map(|config| config.vocab_size).min().unwrap_or(1 << 22) - 1});
    let text = json!({"type": "string", "minLength": 1});
    let (most, some) = (options.max_choices, json!({"type": "array", "items": tokens, "minItems": 1}));
    schemas["Prompts"]["oneOf"] = json!([
        text,
        {"type": "array", "items": text, "minItems": 1, "maxItems": most},
        some,
        {"type": "array", "items": some, "minItems": 1, "maxItems": most}
    ]);
    let mut sizes: Vec<Value> = configs().map(|config| json!(config.hidden_size)).collect();
    sizes.push(Value::Null);
    schemas["EmbeddingRequest"]["properties"]["dimensions"] = json!({"enum": sizes});
    let sampling = &mut schemas["Sampling"]["properties"];
    sampling["n"]["maximum"] = json!(most.min(128));
    if let Some(most) = options.max_tokens {
        sampling["max_tokens"]["maximum"] = json!(most);
        sampling["max_completion_tokens"]["maximum"] = json!(most);
    }
    axum::Json(document)
}

/// A page without anything from elsewhere: a board may have no way to the internet.
pub(crate) async fn page() -> Html<&'static str> {
    Html(include_str!("openapi.html"))
}
