//! JSON of `/v1/chat/completions`.

use super::number::count;
use super::object::{Object, flattened, tagged};
use super::sampling::Sampling;
use super::usage::Usage;
use crate::error::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A conversation to continue. Fields that are not listed are accepted and have no effect.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    /// A name that `/v1/models` lists; without it, the first.
    pub(crate) model: Option<String>,
    /// The conversation so far.
    #[allow(dead_code)]
    #[schema(min_items = 1, value_type = Vec<ChatMessage>)]
    pub(crate) messages: Vec<Object<ChatMessage>>,
    /// Return the log probability of every token.
    pub(crate) logprobs: Option<bool>,
    /// Return this many of the most likely tokens at every position, too.
    #[serde(default, deserialize_with = "count")]
    #[schema(minimum = 0, maximum = 20)]
    pub(crate) top_logprobs: Option<u32>,
    /// Constraint on the answer.
    #[serde(default, deserialize_with = "tagged")]
    pub(crate) response_format: Option<ResponseFormat>,
    /// JSON schema that the answer follows, as in llama.cpp's server.
    #[schema(value_type = Option<Object>)]
    pub(crate) json_schema: Option<Map<String, Value>>,
    /// Functions that the model may call.
    #[schema(max_items = 256, value_type = Option<Vec<ToolSpec>>)]
    pub(crate) tools: Option<Vec<Object<ToolSpec>>>,
    /// Whether the model calls tools.
    pub(crate) tool_choice: Option<ToolChoiceSpec>,
    /// Allow more than one tool call in an answer. Default true.
    pub(crate) parallel_tool_calls: Option<bool>,
}

/// The body of `/v1/chat/completions`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatBody {
    #[serde(flatten, deserialize_with = "flattened")]
    pub(crate) chat: ChatRequest,
    #[serde(flatten, deserialize_with = "flattened")]
    pub(crate) sampling: Sampling,
}

/// The author of a message.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// A message. The model's chat template sees all of its fields, others too.
//
// These types check what is sent, and describe it; the template gets the JSON itself.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code)]
pub(crate) struct ChatMessage {
    pub(crate) role: Role,
    /// Text; may be absent in messages of the assistant.
    pub(crate) content: Option<Content>,
    /// Name of the author.
    pub(crate) name: Option<String>,
    /// Tool calls of the assistant.
    #[schema(value_type = Option<Vec<SentToolCall>>)]
    pub(crate) tool_calls: Option<Vec<Object<SentToolCall>>>,
    /// The tool call that this message answers.
    pub(crate) tool_call_id: Option<String>,
}

/// Text, or parts of text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Object<Part>>),
}

/// A part of a message.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code)]
pub(crate) struct Part {
    /// Only `text` is supported.
    #[serde(rename = "type")]
    pub(crate) kind: PartKind,
    pub(crate) text: String,
}

/// Kinds of parts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PartKind {
    Text,
}

/// A tool call, as the client sends it back.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code)]
pub(crate) struct SentToolCall {
    #[schema(value_type = SentFunction)]
    pub(crate) function: Object<SentFunction>,
}

/// The function that was called.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code)]
pub(crate) struct SentFunction {
    pub(crate) name: String,
    /// JSON text, or an object.
    #[schema(value_type = Option<String>)]
    pub(crate) arguments: Option<SentArguments>,
}

/// The arguments of a call: JSON text, as the API says, or the object itself, as some clients send it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum SentArguments {
    Text(String),
    Object(Map<String, Value>),
}

/// Constraint on an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ResponseFormat {
    /// Anything.
    Text,
    /// A JSON object.
    JsonObject {
        /// JSON schema that it follows, as in llama.cpp's server; by default any object.
        #[schema(value_type = Option<Object>)]
        schema: Option<Map<String, Value>>,
    },
    /// JSON that follows a schema.
    JsonSchema {
        #[schema(value_type = NamedSchema)]
        json_schema: Object<NamedSchema>,
    },
}

/// A schema.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NamedSchema {
    /// Has no effect.
    #[allow(dead_code)]
    pub(crate) name: Option<String>,
    /// JSON schema; by default any object.
    #[schema(value_type = Option<Object>)]
    pub(crate) schema: Option<Map<String, Value>>,
}

impl ResponseFormat {
    /// The JSON schema that a request asks for, in either of its fields, with the name of the field.
    ///
    /// # Errors
    /// 400 if both fields have one.
    pub(crate) fn schema(
        format: Option<&Self>,
        json_schema: Option<Map<String, Value>>,
    ) -> Result<Option<(&'static str, Value)>, ApiError> {
        let asked = match format {
            None | Some(ResponseFormat::Text) => None,
            Some(ResponseFormat::JsonObject { schema }) => Some(schema.clone().unwrap_or_default()),
            Some(ResponseFormat::JsonSchema { json_schema }) => {
                Some(json_schema.0.schema.clone().unwrap_or_default())
            }
        };
        if asked.is_some() && json_schema.is_some() {
            let message = "json_schema and response_format both constrain the answer: leave one out";
            return Err(ApiError::field("json_schema", message));
        }
        let asked = asked.map(|schema| ("response_format", Value::Object(schema)));
        Ok(asked.or_else(|| json_schema.map(|schema| ("json_schema", Value::Object(schema)))))
    }
}

/// A tool. All tools are functions.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ToolSpec {
    #[serde(rename = "type", default)]
    #[allow(dead_code)]
    pub(crate) kind: FunctionKind,
    #[schema(value_type = FunctionSpec)]
    pub(crate) function: Object<FunctionSpec>,
}

/// Kinds of tools.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FunctionKind {
    #[default]
    Function,
}

/// A function that the model may call. The model's chat template sees all of its fields, others too.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct FunctionSpec {
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-zA-Z0-9_-]+$")]
    pub(crate) name: String,
    #[allow(dead_code)]
    pub(crate) description: Option<String>,
    /// JSON schema of the arguments.
    #[schema(value_type = Option<Object>)]
    pub(crate) parameters: Option<Map<String, Value>>,
}

/// Whether tools are called: a mode, or the tool to call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ToolChoiceSpec {
    Mode(ToolMode),
    Named(Object<NamedTool>),
}

/// Whether tools are called.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToolMode {
    Auto,
    None,
    Required,
}

/// The tool to call.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NamedTool {
    #[schema(value_type = FunctionName)]
    pub(crate) function: Object<FunctionName>,
}

/// A function's name.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatCompletion {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) choices: Vec<ChatChoice>,
    pub(crate) usage: Usage,
}

/// A choice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    pub(crate) index: usize,
    pub(crate) message: AnswerMessage,
    pub(crate) logprobs: Option<ChatLogprobs>,
    /// `stop`, `length` or `tool_calls`.
    pub(crate) finish_reason: &'static str,
}

/// The assistant's message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerMessage {
    pub(crate) role: &'static str,
    pub(crate) content: Option<String>,
    /// Always null: the server refuses with errors.
    pub(crate) refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<AnswerToolCall>,
}

/// A tool call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AnswerToolCall {
    /// Index among the calls of the answer, in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) function: AnswerFunction,
}

/// The function that is called.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AnswerFunction {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) arguments: String,
}

/// A piece of a streamed answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChunk {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

/// A piece of a choice.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChunkChoice {
    pub(crate) index: usize,
    pub(crate) delta: Delta,
    pub(crate) logprobs: Option<ChatLogprobs>,
    pub(crate) finish_reason: Option<&'static str>,
}

/// What is new.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<AnswerToolCall>,
}

/// Log probabilities of the tokens of an answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs {
    pub(crate) content: Vec<TokenLogprob>,
    pub(crate) refusal: Option<Vec<TokenLogprob>>,
}

/// A token's log probability.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TokenLogprob {
    #[serde(flatten)]
    pub(crate) token: ShownToken,
    pub(crate) top_logprobs: Vec<ShownToken>,
}

/// A token with its log probability.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ShownToken {
    /// Its text, with replacement characters where it is a part of a character.
    pub(crate) token: String,
    pub(crate) logprob: f32,
    /// Its bytes.
    pub(crate) bytes: Option<Vec<u8>>,
}
