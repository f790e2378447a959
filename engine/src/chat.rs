//! Chat templates: from messages to a prompt.
//!
//! Templates are Jinja in the dialect of Hugging Face's transformers, and render as they do there, byte for byte. They
//! come with the model file and are not trusted: their computation is limited, and they see nothing but the messages.
//! Neither are the messages: a [`ChatPrompt`] knows which of its characters are theirs.

mod date;
mod json;
mod message;
mod openai;
mod prompt;
#[cfg(test)]
mod tests;

pub use date::DateTime;
pub use json::{Json, JsonNumber, NotJson};
pub use message::{Message, MessageError};
pub use openai::tool_from_openai;
pub use prompt::ChatPrompt;

use crate::jinja::{Clock, Error, Float, Key, MAX_MEMORY, MAX_TEXT, Template, Text, Value};
use std::sync::Arc;

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
    /// The template computed for too long.
    #[error(
        "the model's chat template takes too long on these messages: use another template or fewer messages"
    )]
    TooLong,
    /// The template makes texts or lists that are too large.
    #[error(
        "the model's chat template makes more than {} MiB of these messages, or a text of more than {} MiB: use another \
         template or fewer messages",
        MAX_MEMORY >> 20,
        MAX_TEXT >> 20
    )]
    TooLarge,
}

impl From<Error> for ChatError {
    fn from(error: Error) -> Self {
        match error {
            Error::Failed(message) => ChatError::Template(message),
            Error::Raised(message) => ChatError::Refused(message),
            Error::OutOfFuel => ChatError::TooLong,
            Error::OutOfMemory => ChatError::TooLarge,
        }
    }
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
/// assert_eq!(prompt.text(), "<|user|>Hello!</s><|assistant|>");
/// # Ok::<(), edgellm::chat::ChatError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    template: Arc<Template>,
    source: Arc<str>,
    bos_token: Arc<str>,
    eos_token: Arc<str>,
    now: Option<DateTime>,
}

/// Fuel that every template gets; a unit pays for a step or 64 bytes.
const FUEL: u64 = 200_000;
/// Fuel for each message; real templates need some 100.
const FUEL_PER_MESSAGE: u64 = 1000;
/// Bytes of the messages that add one more unit: each byte may be copied and searched 32 times.
const BYTES_PER_FUEL: usize = 2;
/// Most fuel, whatever the messages: less than a second.
const MAX_FUEL: u64 = 4_000_000;

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
        let source = source.into();
        let template = Arc::new(Template::new(&source)?);
        let (bos_token, eos_token) = (bos_token.into(), eos_token.into());
        Ok(ChatTemplate { template, source, bos_token, eos_token, now: None })
    }

    /// The same template with `strftime_now`, which formats this date. Without it the function is undefined, and
    /// templates that test for it, as Llama 3's do, write a date of their own.
    #[must_use]
    pub fn with_date(&self, now: DateTime) -> Self {
        ChatTemplate { now: Some(now), ..self.clone() }
    }

    /// The prompt for `messages`; with `add_generation_prompt`, up to where the assistant's next message begins.
    ///
    /// # Errors
    /// [`ChatError::Refused`] if the template raises an exception, such as when roles do not alternate;
    /// [`ChatError::Template`] if it uses something undefined; [`ChatError::TooLong`] if it runs out of fuel.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<ChatPrompt, ChatError> {
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
        tools: &[Json],
        add_generation_prompt: bool,
    ) -> Result<ChatPrompt, ChatError> {
        match self.render_once(messages, tools, add_generation_prompt) {
            // Beside tool calls there is often no content. Templates look for null, or fail on it and need a text.
            Err(ChatError::Template(_)) if messages.iter().any(has_null_content) => {
                let texts: Vec<Message> = messages
                    .iter()
                    .map(|message| match has_null_content(message) {
                        true => message.clone().with("content", "".into()),
                        false => message.clone(),
                    })
                    .collect();
                self.render_once(&texts, tools, add_generation_prompt)
            }
            rendered => rendered,
        }
    }

    fn render_once(
        &self,
        messages: &[Message],
        tools: &[Json],
        add_generation_prompt: bool,
    ) -> Result<ChatPrompt, ChatError> {
        let fields = messages.iter().flat_map(Message::fields);
        let bytes = fields.map(|(name, value)| name.len() + value.bytes()).sum::<usize>()
            + tools.iter().map(Json::bytes).sum::<usize>();
        let fuel = FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + (bytes / BYTES_PER_FUEL) as u64;
        let fuel = fuel.min(MAX_FUEL);
        let variables = vec![
            ("messages", Value::input_list(messages.iter().map(message_value).collect())),
            ("add_generation_prompt", Value::Bool(add_generation_prompt)),
            ("bos_token", Value::own(Arc::clone(&self.bos_token))),
            ("eos_token", Value::own(Arc::clone(&self.eos_token))),
            (
                "tools",
                if tools.is_empty() {
                    Value::None
                } else {
                    Value::input_list(tools.iter().map(value).collect())
                },
            ),
            ("documents", Value::None),
        ];
        let format = |format: &str| self.now.map_or_else(|| Err("no date".into()), |now| now.format(format));
        let clock = self.now.map(|_| &format as Clock<'_>);
        Ok(ChatPrompt::new(self.template.render(variables, clock, fuel)?))
    }

    /// Whether the template uses tools.
    pub fn knows_tools(&self) -> bool {
        self.template.reads("tools")
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn has_null_content(message: &Message) -> bool {
    message.get("content") == Some(&Json::Null)
}

/// A message for a template. All of it is input but the role: templates make control tokens of it.
fn message_value(message: &Message) -> Value {
    let field = |(name, field): (&String, &Json)| {
        let value = match field {
            Json::String(role) if name == "role" && is_word(role) => Value::own(role.as_str()),
            other => value(other),
        };
        (Key(Value::Str(Text::input(name.as_str()))), value)
    };
    Value::input_map(message.fields().iter().map(field).collect())
}

/// Whether a role is a word, which cannot be a control token by itself.
fn is_word(role: &str) -> bool {
    role.chars().all(|c| c.is_alphanumeric() || "_- ".contains(c))
}

/// A value of the input.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::Str(Text::input(text.as_str())),
        Json::Number(number) => match number.as_str().parse() {
            Ok(integer) => Value::Int(integer),
            // Text that only a float has, or an integer that is too large; its digits stay as they are.
            Err(_) => Value::Float(Float {
                value: number.as_str().parse().unwrap_or_default(),
                digits: Some(number.as_str().into()),
            }),
        },
        Json::Array(items) => Value::input_list(items.iter().map(value).collect()),
        Json::Object(fields) => {
            let field =
                |(name, field): (&String, &Json)| (Key(Value::Str(Text::input(name.as_str()))), value(field));
            Value::input_map(fields.iter().map(field).collect())
        }
    }
}
