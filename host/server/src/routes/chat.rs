//! `POST /v1/chat/completions`.

use super::context::Context;
use super::generation::{self, Prepared, Request};
use crate::answer::ChatFormat;
use crate::api::chat::{
    ChatBody, ChatCompletion, ChatRequest, FunctionSpec, ResponseFormat, ToolChoiceSpec, ToolMode, ToolSpec,
};
use crate::api::refusals::{Refusals, ServerSentEvent};
use crate::api::sampling::{Sampling, check};
use crate::body::Body;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::grammar::Shape;
use crate::server::Server;
use crate::tools::{self, Tool, ToolChoice};
use axum::extract::{Extension, State};
use axum::response::Response;
use edgellm::TokenId;
use edgellm::chat::{Json, Message, tool_from_openai};
use serde_json::{Value, json};

/// Tools of a request, at most: each has a grammar of its own.
const TOOLS: usize = 256;

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
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    generation::answer(server, caller, body, |context, ChatBody { chat, sampling }: &ChatBody, text| {
        check("max_tokens", sampling.max_tokens != Some(0), "at least 1")?;
        check("max_completion_tokens", sampling.max_completion_tokens != Some(0), "at least 1")?;
        check("n_predict", sampling.n_predict != Some(0), "at least 1, or -1")?;
        context.go_on()?;
        let sent = text.json()?;
        let (logprobs, (field, shape)) = (logprobs(chat)?, shape(chat, &sent)?);
        let prompt = prompt(context, &messages(sent)?, &shape)?;
        context.check_prompt("messages", &prompt)?;
        let constraint = context.constraint(field, &shape)?;
        let with_tools = !shape.tools.is_empty() && shape.choice != ToolChoice::None;
        let format = ChatFormat::new(sampling.choices(), with_tools.then(|| shape.calls_only()));
        Ok(Prepared { prompts: vec![prompt], constraint, logprobs, scored: false, format })
    })
    .await
}

impl Request for ChatBody {
    fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    fn prompts(&self) -> usize {
        1
    }
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
fn shape(chat: &ChatRequest, sent: &Json) -> Result<(&'static str, Shape), ApiError> {
    let json = ResponseFormat::schema(chat.response_format.as_ref(), chat.json_schema.clone())?;
    let (field, json) = json.unzip();
    let count = chat.tools.as_ref().map_or(0, Vec::len);
    check("tools", count <= TOOLS, &format!("at most {TOOLS} functions"))?;
    let sent = sent.get("tools").and_then(Json::as_array).unwrap_or_default();
    let tools: Vec<Tool> = chat
        .tools
        .iter()
        .flatten()
        .zip(sent)
        .map(|(spec, sent)| tool(&spec.0, sent))
        .collect::<Result<_, _>>()?;
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

fn tool(spec: &ToolSpec, sent: &Json) -> Result<Tool, ApiError> {
    let FunctionSpec { name, parameters, .. } = &spec.function.0;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let good = (1..=64).contains(&name.len()) && name.chars().all(plain);
    check("tools", good, "functions with names of 1 to 64 letters, digits, _ and -")?;
    let mut parameters = parameters.clone().unwrap_or_default();
    let is_object = match parameters.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
    };
    check("tools", is_object, "functions whose parameters are a schema of an object")?;
    // Whatever else the schema says: arguments are an object.
    parameters.insert("type".into(), json!("object"));
    Ok(Tool {
        name: name.clone(),
        parameters: Value::Object(parameters),
        sent: tool_from_openai(sent.clone()),
    })
}

/// The messages in the form of chat templates, with all fields that the client sent.
fn messages(sent: Json) -> Result<Vec<Message>, ApiError> {
    let sent = match sent {
        Json::Object(mut fields) => fields.swap_remove("messages"),
        _ => None,
    };
    let Some(Json::Array(sent)) = sent.filter(|sent| sent.as_array().is_some_and(|sent| !sent.is_empty()))
    else {
        return Err(ApiError::field("messages", "messages must be at least one message"));
    };
    sent.into_iter().enumerate().map(|(index, sent)| message(index, sent)).collect()
}

fn message(index: usize, sent: Json) -> Result<Message, ApiError> {
    Message::from_openai(sent).map_err(|error| {
        ApiError::field(format!("messages[{index}].content"), format!("messages[{index}]: {error}"))
    })
}

/// Renders and tokenizes the prompt.
fn prompt(context: &Context, messages: &[Message], shape: &Shape) -> Result<Vec<TokenId>, ApiError> {
    context.go_on()?;
    let template = context.model.template()?;
    let offered: &[Tool] = if shape.choice == ToolChoice::None { &[] } else { &shape.tools };
    let prompt = if template.knows_tools() {
        let offered: Vec<Json> = offered.iter().map(|tool| tool.sent.clone()).collect();
        template.render_with_tools(messages, &offered, true)
    } else {
        template.render(&tools::spelled_out(messages, offered), true)
    };
    let prompt = prompt.map_err(|error| {
        // What a template has no fuel for is mostly too long for the context, too, which says more.
        let bytes = messages.iter().map(|message| message.content().len()).sum();
        let too_long = context.check_bytes("messages", bytes).err();
        too_long.unwrap_or_else(|| ApiError::field("messages", error.to_string()))
    })?;
    // Contents may be longer than what the template keeps of them, but its text is the prompt.
    context.check_bytes("messages", prompt.text().len())?;
    let parse_special = context.server.options().parse_special_in_content;
    let tokenizer = context.model.model.tokenizer();
    context.tokens("messages", |limit| prompt.tokenize_within(tokenizer, parse_special, limit))
}
