//! From messages or text to the tokens of a prompt.

use crate::error::Result;
use edgellm::chat::{ChatTemplate, DateTime, Message};
use edgellm::{Model, TokenId};
use std::time::{SystemTime, UNIX_EPOCH};

/// The model's chat template with today's date; `None` if it has none.
///
/// # Errors
/// If it cannot be compiled.
pub(crate) fn template(model: &Model) -> Result<Option<ChatTemplate>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = DateTime::from_unix(i64::try_from(now).unwrap_or(0));
    Ok(model.chat_template()?.map(|template| template.with_date(now)))
}

/// The prompt for the assistant's next message.
///
/// # Errors
/// If the template refuses the messages.
pub(crate) fn chat(model: &Model, template: &ChatTemplate, messages: &[Message]) -> Result<Vec<TokenId>> {
    // The template writes the special tokens itself; adding them again would double them.
    let text = template.render(messages, true)?;
    Ok(model.tokenizer().encode(&text, false).map_err(edgellm::Error::from)?)
}

/// The tokens of `text` with the model's special tokens, and without a chat template.
///
/// # Errors
/// If it cannot be tokenized.
pub(crate) fn plain(model: &Model, text: &str) -> Result<Vec<TokenId>> {
    Ok(model.tokenizer().encode(text, true).map_err(edgellm::Error::from)?)
}
