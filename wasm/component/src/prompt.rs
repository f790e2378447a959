//! Messages or text to the tokens of a prompt.

use crate::Error;
use crate::system::seconds_since_1970;
use edgellm::chat::{ChatPrompt, DateTime, Message};
use edgellm::{Model, TokenId};

fn render(model: &Model, messages: &[Message]) -> Result<ChatPrompt, Error> {
    let template = model.chat_template()?.ok_or(Error::NoTemplate)?;
    let now = DateTime::from_unix(i64::try_from(seconds_since_1970()).unwrap_or(0));
    Ok(template.with_date(now).render(messages, true)?)
}

/// The text of the prompt for the assistant's next message.
///
/// # Errors
/// [`Error::NoTemplate`] or [`Error::Chat`].
pub fn chat_text(model: &Model, messages: &[Message]) -> Result<String, Error> {
    Ok(render(model, messages)?.text().to_string())
}

/// The prompt for the assistant's next message. Special tokens in the messages are text, unless
/// `parse_special_in_content`.
///
/// # Errors
/// As [`chat_text`], and if the text cannot be tokenized.
pub fn chat_prompt(
    model: &Model,
    messages: &[Message],
    parse_special_in_content: bool,
) -> Result<Vec<TokenId>, Error> {
    let prompt = render(model, messages)?;
    Ok(prompt.tokenize(model.tokenizer(), parse_special_in_content).map_err(edgellm::Error::from)?)
}

/// The tokens of a text; with `add_special`, with the special tokens that the model expects around it.
///
/// # Errors
/// If it cannot be tokenized.
pub fn tokens(model: &Model, text: &str, add_special: bool) -> Result<Vec<TokenId>, Error> {
    Ok(model.tokenizer().encode(text, add_special).map_err(edgellm::Error::from)?)
}
