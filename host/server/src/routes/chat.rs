//! `POST /v1/chat/completions`.

use super::Context;
use crate::answer::{self, ChatAnswer, EventStream, RequestId, Tally};
use crate::api::chat::{
    ChatMessage, ChatRequest, Content, FunctionSpec, ResponseFormat, Role, ToolChoiceSpec, ToolMode, ToolSpec,
};
use crate::api::object::Object;
use crate::api::sampling::{Sampling, check};
use crate::body::Body;
use crate::error::ApiError;
use crate::grammar::Shape;
use crate::server::Server;
use crate::tools::{self, Tool, ToolChoice};
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use edgellm::TokenId;
use edgellm::chat::Message;
use serde_json::{Value, json};

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "OpenAI",
    request_body = crate::openapi::ChatBody,
    responses(
        (status = 200, description = "The answer", content(
            (crate::api::chat::ChatCompletion = "application/json"),
            (crate::openapi::ServerSentEvent = "text/event-stream")
        )),
        crate::openapi::Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn create(
    State(server): State<Server>,
    Extension(request): Extension<RequestId>,
    body: Body,
) -> Result<Response, ApiError> {
    let (chat, sampling): (ChatRequest, Sampling) = (body.parse()?, body.parse()?);
    sampling.validate(server.options().max_choices)?;
    let logprobs = logprobs(&chat)?;
    let shape = shape(&chat)?;
    let messages = messages(chat.messages.into_iter().map(|message| message.0).collect())?;
    let context = Context::new(server, request, chat.model.as_deref()).await?;
    let (sender, events) = Context::events();
    let with_tools = !shape.tools.is_empty() && shape.choice != ToolChoice::None;
    let (stream, include_usage) = (sampling.stream(), sampling.include_usage());
    let (choices, user) = (sampling.choices(), sampling.user.clone());
    let (context, job) = context
        .work(move |context| {
            let prompt = prompt(context, &messages, &shape)?;
            context.check_prompt("messages", &prompt)?;
            let constraint = context.model.constraint(&shape).map_err(|error| {
                let field = if shape.json.is_some() { "response_format" } else { "tools" };
                ApiError::field(field, format!("{field}: this cannot be followed: {error}"))
            })?;
            context.job(prompt, 0, &sampling, constraint, logprobs, &sender)
        })
        .await?;
    let mut tally = Tally::new(context.request.clone(), context.model.clone(), job.prompt.len(), choices);
    tally.user = user;
    tally.text = context.server.options().log_prompts.then(String::new);
    let id = format!("chatcmpl-{:016x}", crate::random());
    let answer = ChatAnswer::new(id, crate::registry::now(), tally, choices, with_tools);
    context.model.scheduler.submit(vec![job])?;
    if stream {
        return EventStream::begin(answer, events, include_usage).await;
    }
    Ok(axum::Json(answer::collect(answer, events).await?).into_response())
}

fn logprobs(chat: &ChatRequest) -> Result<Option<usize>, ApiError> {
    let wanted = chat.logprobs.unwrap_or(false);
    check("top_logprobs", chat.top_logprobs.is_none_or(|count| count <= 20), "in 0..=20")?;
    Ok(wanted.then(|| chat.top_logprobs.unwrap_or(0) as usize))
}

/// What the answer has to be.
fn shape(chat: &ChatRequest) -> Result<Shape, ApiError> {
    let json = match &chat.response_format {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject) => Some(json!({})),
        Some(ResponseFormat::JsonSchema { json_schema }) => {
            Some(Value::Object(json_schema.0.schema.clone().unwrap_or_default()))
        }
    };
    let tools: Vec<Tool> = chat.tools.iter().flatten().map(|spec| tool(&spec.0)).collect::<Result<_, _>>()?;
    let choice = match &chat.tool_choice {
        None | Some(ToolChoiceSpec::Mode(ToolMode::Auto)) => ToolChoice::Auto,
        Some(ToolChoiceSpec::Mode(ToolMode::None)) => ToolChoice::None,
        Some(ToolChoiceSpec::Mode(ToolMode::Required)) if !tools.is_empty() => ToolChoice::Required,
        Some(ToolChoiceSpec::Named(named))
            if tools.iter().any(|tool| tool.name == named.0.function.0.name) =>
        {
            ToolChoice::Named(named.0.function.0.name.clone())
        }
        Some(_) => {
            return Err(ApiError::field(
                "tool_choice",
                "tool_choice asks for a tool that `tools` does not have",
            ));
        }
    };
    Ok(Shape { json, tools, choice, parallel: chat.parallel_tool_calls.unwrap_or(true) })
}

fn tool(spec: &ToolSpec) -> Result<Tool, ApiError> {
    let FunctionSpec { name, description, parameters } = &spec.function.0;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let good = (1..=64).contains(&name.len()) && name.chars().all(plain);
    check("tools", good, "functions with names of 1 to 64 letters, digits, _ and -")?;
    let parameters = Value::Object(parameters.clone().unwrap_or_default());
    Ok(Tool { name: name.clone(), description: description.clone(), parameters })
}

/// The messages as templates take them.
fn messages(sent: Vec<ChatMessage>) -> Result<Vec<Message>, ApiError> {
    check("messages", !sent.is_empty(), "at least one message")?;
    sent.into_iter().enumerate().map(|(index, message)| self::message(index, message)).collect()
}

fn message(index: usize, sent: ChatMessage) -> Result<Message, ApiError> {
    let role = match sent.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let calls = sent.tool_calls.into_iter().flatten().map(|Object(call)| {
        let function = call.function.0;
        // Templates write the arguments as JSON themselves.
        let arguments =
            serde_json::from_str(&function.arguments).unwrap_or(Value::String(function.arguments));
        json!({"type": "function", "function": {"name": function.name, "arguments": arguments}})
    });
    let tool_calls: Vec<Value> = calls.collect();
    let content = match sent.content {
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => parts.into_iter().map(|part| part.0.text).collect(),
        None if sent.role == Role::Assistant => String::new(),
        None => {
            let field = format!("messages[{index}].content");
            return Err(ApiError::field(
                field,
                format!("messages[{index}]: a message of this role needs content"),
            ));
        }
    };
    Ok(Message {
        role: role.to_string(),
        content,
        tool_calls,
        tool_call_id: sent.tool_call_id,
        name: sent.name,
    })
}

/// The tokens of the prompt.
fn prompt(context: &Context, messages: &[Message], shape: &Shape) -> Result<Vec<TokenId>, ApiError> {
    let template = context.model.template()?;
    let offered: &[Tool] = if shape.choice == ToolChoice::None { &[] } else { &shape.tools };
    let text = if template.knows_tools() {
        let offered: Vec<Value> = offered.iter().map(Tool::to_json).collect();
        template.render_with_tools(messages, &offered, true)
    } else {
        template.render(&tools::spelled_out(messages, offered), true)
    };
    let text = text.map_err(|error| ApiError::field("messages", error.to_string()))?;
    if context.server.options().log_prompts {
        tracing::info!(request_id = context.request.0, prompt = text, "prompt");
    }
    context.encode("messages", &text, false)
}
