//! Chat templates: from messages to a prompt.
//!
//! Templates are Jinja in Hugging Face's dialect: trimmed blocks, `raise_exception`, `strftime_now`, a `tojson` that
//! formats as Python's `json.dumps`, and Python's string methods. They come with the model file and are not trusted:
//! their computation is limited, and they see nothing but the messages.

mod date;
mod methods;
#[cfg(test)]
mod tests;

pub use date::DateTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or another role that the template knows.
    pub role: String,
    /// The text.
    pub content: String,
    /// The assistant's tool calls: `{"type": "function", "function": {"name": ..., "arguments": {...}}}` each, as
    /// templates expect them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<serde_json::Value>,
    /// The call that a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Name of the speaker or of the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    /// A message without tool calls.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into(), ..Message::default() }
    }
}

/// Why messages cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The engine cannot run the template.
    #[error(
        "the model's chat template cannot be used: {0}; pass another one, or use the model without a template"
    )]
    Template(String),
    /// The template rejects these messages.
    #[error("the model's chat template rejects these messages: {0}")]
    Refused(String),
    /// The template computed for too long or nested too deeply.
    #[error(
        "the model's chat template takes too long on these messages: use another template or fewer messages"
    )]
    TooLong,
}

/// A compiled chat template; a model's own is [`Model::chat_template`](crate::Model::chat_template). Clones share the
/// compiled code.
///
/// ```
/// use edgellm::chat::{ChatTemplate, Message};
///
/// let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{{ eos_token }}{% endfor %}\
///               {% if add_generation_prompt %}<|assistant|>{% endif %}";
/// let template = ChatTemplate::new(source, "<s>", "</s>")?;
/// let prompt = template.render(&[Message::new("user", " Hello! ")], true)?;
/// assert_eq!(prompt, "<|user|>Hello!</s><|assistant|>");
/// # Ok::<(), edgellm::chat::ChatError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: Arc<str>,
    bos_token: Arc<str>,
    eos_token: Arc<str>,
}

/// The template's name in error messages.
const NAME: &str = "chat template";
/// Fuel that every template gets; a unit pays for an instruction or 64 bytes.
const FUEL: u64 = 100_000;
/// Fuel for each message; real templates need some 50.
const FUEL_PER_MESSAGE: u64 = 500;
/// Bytes of the messages that add one more unit: each byte may be copied and searched 16 times.
const BYTES_PER_FUEL: usize = 4;
/// Limit of nesting; a WebAssembly stack is small.
const RECURSION_LIMIT: usize = 100;

impl ChatTemplate {
    /// Compiles a template, which may use the texts of the BOS and EOS tokens.
    ///
    /// # Errors
    /// [`ChatError::Template`] if it is not valid Jinja.
    pub fn new(
        source: impl Into<Arc<str>>,
        bos_token: impl Into<Arc<str>>,
        eos_token: impl Into<Arc<str>>,
    ) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax =
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(template_error)?;
        environment.set_syntax(syntax);
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_unknown_method_callback(methods::call);
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::None => out.write_str("None").map_err(Error::from),
            ValueKind::Bool => {
                out.write_str(if value.is_true() { "True" } else { "False" }).map_err(Error::from)
            }
            _ => minijinja::escape_formatter(out, state, value),
        });
        environment.add_filter("tojson", methods::to_json);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, "refused").with_source(Refusal(message)))
        });
        let source: Arc<str> = source.into();
        environment.add_template_owned(NAME, source.to_string()).map_err(template_error)?;
        Ok(ChatTemplate { environment, source, bos_token: bos_token.into(), eos_token: eos_token.into() })
    }

    /// The same template with `strftime_now`, which formats this date. Without it the function is undefined, and
    /// templates that test for it, as Llama 3's do, write a date of their own.
    #[must_use]
    pub fn with_date(&self, now: DateTime) -> Self {
        let mut dated = self.clone();
        dated.environment.add_function("strftime_now", move |format: &str| now.format(format));
        dated
    }

    /// The prompt for `messages`; with `add_generation_prompt`, up to where the assistant's next message begins.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template raises an exception, such as when roles do not alternate;
    /// [`ChatError::Template`] if it uses something undefined; [`ChatError::TooLong`] if it runs out of fuel.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        self.render_with_tools(messages, &[], add_generation_prompt)
    }

    /// As [`ChatTemplate::render`], with tools that the model may call: `{"type": "function", "function": {"name": ...,
    /// "description": ..., "parameters": JSON schema}}` each. [`ChatTemplate::knows_tools`] tells whether the template
    /// uses them.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with_tools(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let json_bytes = |values: &[serde_json::Value]| values.iter().map(json_bytes).sum::<usize>();
        let bytes: usize = messages
            .iter()
            .map(|message| message.role.len() + message.content.len() + json_bytes(&message.tool_calls))
            .sum::<usize>()
            + json_bytes(tools);
        let mut environment = self.environment.clone();
        let work = FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + (bytes / BYTES_PER_FUEL) as u64;
        environment.set_fuel(Some(work));
        let template = environment.get_template(NAME).map_err(template_error)?;
        template
            .render(context! {
                messages => Value::from(Serde(messages)),
                add_generation_prompt,
                bos_token => &*self.bos_token,
                eos_token => &*self.eos_token,
                tools => if tools.is_empty() { Value::from(()) } else { Value::from(Serde(tools)) },
                documents => Value::from(()),
            })
            .map_err(template_error)
    }

    /// Whether the template mentions tools.
    pub fn knows_tools(&self) -> bool {
        self.source.contains("tools")
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Approximate length of a value as JSON.
fn json_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value as Json;
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 8,
        Json::String(text) => 2 + text.len(),
        Json::Array(items) => 2 + items.iter().map(|item| 2 + json_bytes(item)).sum::<usize>(),
        Json::Object(fields) => {
            2 + fields.iter().map(|(name, item)| 6 + name.len() + json_bytes(item)).sum::<usize>()
        }
    }
}

/// The message of `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn template_error(error: Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(Refusal(message)) = inner.downcast_ref() {
            return ChatError::Refused(message.clone());
        }
        if inner.downcast_ref::<Error>().is_some_and(|e| e.kind() == ErrorKind::OutOfFuel) {
            return ChatError::TooLong;
        }
        cause = inner.source();
    }
    ChatError::Template(error.to_string())
}
