//! Messages: whatever fields a client gave them, in its order.

use super::json::Json;
use super::openai;
use indexmap::IndexMap;

/// One message of a conversation. A template sees all of its fields.
///
/// ```
/// use edgellm::chat::{Json, Message};
///
/// let call: Json = r#"[{"id": "1", "function": {"name": "noon", "arguments": {}}}]"#.parse()?;
/// let message = Message::new("assistant", "").with("tool_calls", call);
/// assert_eq!((message.role(), message.content()), ("assistant", ""));
/// # Ok::<(), edgellm::chat::NotJson>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    fields: IndexMap<String, Json>,
}

/// A message that lacks what every message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is no object with a role.
    #[error("a message is an object with a role")]
    Role,
    /// A message of this role needs a content.
    #[error("a message of this role needs content")]
    Content,
}

impl Message {
    /// A message with a role (`system`, `user`, `assistant`, `tool`, or another one that the template knows) and a text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let fields = [("role", role.into()), ("content", content.into())];
        Message { fields: fields.map(|(name, text)| (name.to_string(), Json::String(text))).into() }
    }

    /// A message as clients of OpenAI's API send it, with what templates expect in the place of what they do not: parts of
    /// text are joined, fields that are null are absent, the arguments of tool calls are objects instead of their text, and
    /// `developer` is `system`. All other fields stay as they are.
    ///
    /// # Errors
    /// If the role or the content is missing.
    pub fn from_openai(sent: Json) -> Result<Self, MessageError> {
        let mut message = Message::try_from(sent)?;
        if message.role() == "developer" {
            message = message.with("role", "system".into());
        }
        message.fields.retain(|name, value| *value != Json::Null || name == "content");
        match message.fields.get_mut("tool_calls") {
            Some(Json::Array(calls)) if !calls.is_empty() => calls.iter_mut().for_each(openai::call),
            _ => message = message.without("tool_calls"),
        }
        let content = match message.get("content") {
            Some(Json::Array(parts)) => openai::joined(parts),
            None | Some(Json::Null) if message.role() != "assistant" => return Err(MessageError::Content),
            // Templates tell a call from an answer by a content that is null.
            None | Some(Json::Null) if message.get("tool_calls").is_some() => Some(Json::Null),
            None | Some(Json::Null) => Some("".into()),
            Some(_) => None,
        };
        Ok(match content {
            Some(content) => message.with("content", content),
            None => message,
        })
    }

    /// The same message with another field, or another value of it.
    #[must_use]
    pub fn with(mut self, name: &str, value: Json) -> Self {
        self.fields.insert(name.to_string(), value);
        self
    }

    /// The same message without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.shift_remove(name);
        self
    }

    /// The role.
    pub fn role(&self) -> &str {
        self.get("role").and_then(Json::as_str).unwrap_or_default()
    }

    /// The text; empty if there is none.
    pub fn content(&self) -> &str {
        self.get("content").and_then(Json::as_str).unwrap_or_default()
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.fields.get(name)
    }

    /// All fields.
    pub fn fields(&self) -> &IndexMap<String, Json> {
        &self.fields
    }
}

impl TryFrom<Json> for Message {
    type Error = MessageError;

    fn try_from(value: Json) -> Result<Self, MessageError> {
        match value {
            Json::Object(fields) if fields.get("role").and_then(Json::as_str).is_some() => {
                Ok(Message { fields })
            }
            _ => Err(MessageError::Role),
        }
    }
}
