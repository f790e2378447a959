//! Messages or text to the tokens of a prompt.

use crate::Error;
use crate::system::seconds_since_1970;
use edgellm::chat::{DateTime, Message};
use edgellm::{Model, TokenId};

/// The text of the prompt for the assistant's next message.
///
/// # Errors
/// [`Error::NoTemplate`] or [`Error::Chat`].
pub fn chat_text(model: &Model, messages: &[Message]) -> Result<String, Error> {
    let template = model.chat_template()?.ok_or(Error::NoTemplate)?;
    let now = DateTime::from_unix(i64::try_from(seconds_since_1970()).unwrap_or(0));
    Ok(template.with_date(now).render(messages, true)?)
}

/// The prompt for the assistant's next message.
///
/// # Errors
/// As [`chat_text`], and if the text cannot be tokenized.
pub fn chat_prompt(model: &Model, messages: &[Message]) -> Result<Vec<TokenId>, Error> {
    // The template writes the special tokens itself; adding them again would double them.
    tokens(model, &chat_text(model, messages)?, false)
}

/// The tokens of a text; with `add_special`, with the special tokens that the model expects around it.
///
/// # Errors
/// If it cannot be tokenized.
pub fn tokens(model: &Model, text: &str, add_special: bool) -> Result<Vec<TokenId>, Error> {
    Ok(model.tokenizer().encode(text, add_special).map_err(edgellm::Error::from)?)
}
