//! The OpenAPI document, generated from the types of requests and responses, and the page to try it.

use crate::api::chat::ChatBody;
use crate::api::completions::CompletionBody;
use crate::api::embeddings::{EmbeddingRequest, MAX_INPUTS};
use crate::api::fields::{self, Fields, Verdict};
use crate::api::sampling::STOP;
use crate::routes::{chat, completions, embeddings, models, tokens};
use crate::server::Server;
use axum::extract::State;
use axum::response::Html;
use serde_json::{Value, json};
use std::sync::LazyLock;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

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
    // The `data` of events, except the last one, which is [DONE].
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

/// The document, with the rules that derived schemas cannot express.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    let sampling = &mut schemas["Sampling"]["properties"];
    let text = json!({"type": "string", "minLength": 1, "maxLength": STOP});
    sampling["stop"]["oneOf"] =
        json!([{"type": "null"}, text, {"type": "array", "items": text, "maxItems": 16}]);
    // From 1, or -1 for none.
    for limit in ["max_tokens", "max_completion_tokens"] {
        sampling[limit]["not"] = json!({"const": 0});
    }
    sampling["logit_bias"]["propertyNames"] = json!({"pattern": "^[0-9]{1,9}$"});
    sampling["logit_bias"]["additionalProperties"] =
        json!({"type": "number", "minimum": -100, "maximum": 100});
    schemas["Content"]["oneOf"][1]["items"] = json!({"$ref": "#/components/schemas/Part"});
    // Only the assistant's messages may lack content.
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
        [("NamedSchema", "schema"), ("ChatRequest", "json_schema"), ("CompletionRequest", "json_schema")]
    {
        schemas[owner]["properties"][field] = schema.clone();
    }
    schemas["FunctionSpec"]["properties"]["parameters"] = json!({
        "type": ["object", "null"],
        "description": "A JSON schema of an object.",
        "properties": {"type": {"const": "object"}}
    });
    for format in schemas["ResponseFormat"]["oneOf"].as_array_mut().into_iter().flatten() {
        if let Some(own) = format.pointer_mut("/properties/schema") {
            *own = schema.clone();
        }
    }
    // Null counts as absent, also where there is a default.
    for (field, kind) in [
        ("/ToolSpec/properties/type", json!({"enum": ["function", null]})),
        (
            "/SentFunction/properties/arguments",
            json!({"type": ["string", "object", "null"], "description": "JSON text, or an object."}),
        ),
    ] {
        if let Some(own) = schemas.pointer_mut(field) {
            *own = kind;
        }
    }
    // An empty list is of both kinds.
    schemas["Tokens"]["anyOf"] = schemas["Tokens"]["oneOf"].take();
    if let Some(tokens) = schemas["Tokens"].as_object_mut() {
        tokens.remove("oneOf");
    }
    // Only one of both may constrain the answer.
    for owner in ["ChatRequest", "CompletionRequest"] {
        schemas[owner]["not"] = json!({"required": ["response_format", "json_schema"], "properties": {
            "response_format": {"required": ["type"], "properties": {"type": {"enum": ["json_object", "json_schema"]}}},
            "json_schema": {"type": "object"}
        }});
    }
    let chat = &mut schemas["ChatRequest"];
    chat["anyOf"] = json!([
        {"properties": {"logprobs": {"const": true}}, "required": ["logprobs"]},
        {"properties": {"top_logprobs": {"enum": [0, null]}}}
    ]);
    // Only plain completions may be without tokens.
    for limit in ["max_tokens", "max_completion_tokens", "n_predict"] {
        chat["properties"][limit] = json!({"not": {"const": 0}});
    }
    refused::<ChatBody>(&mut schemas["ChatRequest"]);
    refused::<CompletionBody>(&mut schemas["CompletionRequest"]);
    refused::<EmbeddingRequest>(&mut schemas["EmbeddingRequest"]);
    // A name must be one of `tools`, which schemas cannot express.
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

/// The document without a server's limits.
#[cfg(test)]
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// Adds the fields that the server refuses, with the values for which it does not.
fn refused<T: Fields>(schema: &mut Value) {
    for field in fields::all::<T>() {
        if let (Verdict::Refused { instead, .. }, Some(neutral)) = (&field.verdict, field.neutral()) {
            let description = format!("Not supported: {instead}.");
            schema["properties"][field.name] = json!({"enum": neutral, "description": description});
        }
    }
}

/// The document with the limits of `server` and of its models.
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
    let texts = |most: usize| {
        json!([
            text,
            {"type": "array", "items": text, "minItems": 1, "maxItems": most},
            some,
            {"type": "array", "items": some, "minItems": 1, "maxItems": most}
        ])
    };
    schemas["Prompts"]["oneOf"] = texts(most);
    let input = &mut schemas["EmbeddingRequest"]["properties"]["input"];
    *input = json!({"description": input["description"], "oneOf": texts(MAX_INPUTS)});
    let mut sizes: Vec<Value> = configs().map(|config| json!(config.hidden_size)).collect();
    sizes.push(Value::Null);
    schemas["EmbeddingRequest"]["properties"]["dimensions"] = json!({"enum": sizes});
    let sampling = &mut schemas["Sampling"]["properties"];
    sampling["n"]["maximum"] = json!(most.min(128));
    if let Some(most) = options.max_tokens {
        sampling["max_tokens"]["maximum"] = json!(most);
        sampling["max_completion_tokens"]["maximum"] = json!(most);
        sampling["n_predict"]["maximum"] = json!(most);
    }
    axum::Json(document)
}

/// A self-contained page: a board may have no access to the internet.
pub(crate) async fn page() -> Html<&'static str> {
    Html(include_str!("openapi.html"))
}
