//! `POST /v1/chat/completions`.

use super::context::Context;
use super::generation::{self, Prepared};
use crate::answer::ChatFormat;
use crate::api::chat::{
    ChatBody, ChatCompletion, ChatMessage, ChatRequest, Content, FunctionSpec, ResponseFormat, Role,
    ToolChoiceSpec, ToolMode, ToolSpec,
};
use crate::api::object::Object;
use crate::api::refusals::{Refusals, ServerSentEvent};
use crate::api::sampling::check;
use crate::body::Body;
use crate::error::ApiError;
use crate::grammar::Shape;
use crate::request_id::RequestId;
use crate::server::Server;
use crate::tools::{self, Tool, ToolChoice};
use axum::extract::{Extension, State};
use axum::response::Response;
use edgellm::TokenId;
use edgellm::chat::Message;
use serde_json::{Value, json};

/// Answers a conversation.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "OpenAI",
    request_body = ChatBody,
    responses(
        (status = 200, description = "The answer", content(
            (ChatCompletion = "application/json"),
            (ServerSentEvent = "text/event-stream")
        )),
        Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn create(
    State(server): State<Server>,
    Extension(request): Extension<RequestId>,
    body: Body,
) -> Result<Response, ApiError> {
    let ChatBody { chat, sampling } = body.read()?;
    check("max_tokens", sampling.max_tokens != Some(0), "at least 1")?;
    check("max_completion_tokens", sampling.max_completion_tokens != Some(0), "at least 1")?;
    check("n_predict", sampling.n_predict != Some(0), "at least 1, or -1")?;
    let (logprobs, (field, shape)) = (logprobs(&chat)?, shape(&chat)?);
    let messages = messages(chat.messages.into_iter().map(|message| message.0).collect())?;
    generation::answer(server, request, chat.model.as_deref(), sampling, move |context, sampling| {
        let prompt = prompt(context, &messages, &shape)?;
        context.check_prompt("messages", &prompt)?;
        let constraint = context.constraint(field, &shape)?;
        let with_tools = !shape.tools.is_empty() && shape.choice != ToolChoice::None;
        let format = ChatFormat::new(sampling.choices(), with_tools);
        Ok(Prepared { prompts: vec![prompt], constraint, logprobs, scored: false, format })
    })
    .await
}

fn logprobs(chat: &ChatRequest) -> Result<Option<usize>, ApiError> {
    let wanted = chat.logprobs.unwrap_or(false);
    check("top_logprobs", chat.top_logprobs.is_none_or(|count| count <= 20), "in 0..=20")?;
    check(
        "top_logprobs",
        wanted || chat.top_logprobs.is_none_or(|count| count == 0),
        "used with `logprobs: true`",
    )?;
    Ok(wanted.then(|| chat.top_logprobs.unwrap_or(0) as usize))
}

/// The constraints on the answer, and the field that they come from.
fn shape(chat: &ChatRequest) -> Result<(&'static str, Shape), ApiError> {
    let json = ResponseFormat::schema(chat.response_format.as_ref(), chat.json_schema.clone())?;
    let (field, json) = json.unzip();
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
    let parallel = chat.parallel_tool_calls.unwrap_or(true);
    Ok((field.unwrap_or("tools"), Shape { json, tools, choice, parallel }))
}

fn tool(spec: &ToolSpec) -> Result<Tool, ApiError> {
    let FunctionSpec { name, description, parameters } = &spec.function.0;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let good = (1..=64).contains(&name.len()) && name.chars().all(plain);
    check("tools", good, "functions with names of 1 to 64 letters, digits, _ and -")?;
    let parameters = Value::Object(parameters.clone().unwrap_or_default());
    Ok(Tool { name: name.clone(), description: description.clone(), parameters })
}

/// The messages in the form of chat templates.
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
        // Templates serialize the arguments themselves.
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

/// Renders and tokenizes the prompt.
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
    context.encode("messages", &text, false)
}
