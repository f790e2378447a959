//! From messages or text to the tokens of a prompt.

use crate::Error;
use crate::system::seconds_since_1970;
use edgellm::chat::{ChatTemplate, DateTime, Message};
use edgellm::{Model, TokenId};

/// The text of the prompt for the assistant's next message.
///
/// # Errors
/// [`Error::NoTemplate`] or [`Error::Chat`].
pub fn chat_text(model: &Model, messages: &[Message]) -> Result<String, Error> {
    let source = model.metadata().chat_template.as_deref().ok_or(Error::NoTemplate)?;
    let text = |id: Option<TokenId>| id.and_then(|id| model.tokenizer().id_to_token(id)).unwrap_or_default();
    let config = model.config();
    let (bos, eos) = (text(config.bos_token_id), text(config.eos_token_ids.first().copied()));
    let now = DateTime::from_unix(i64::try_from(seconds_since_1970()).unwrap_or(0));
    Ok(ChatTemplate::new(source, bos, eos)?.with_date(now).render(messages, true)?)
}

/// The prompt for the assistant's next message.
///
/// # Errors
/// As [`chat_text`], and if the text cannot be tokenized.
pub fn chat_prompt(model: &Model, messages: &[Message]) -> Result<Vec<TokenId>, Error> {
    // The template writes what stands around a text; adding it again would double it.
    tokens(model, &chat_text(model, messages)?, false)
}

/// The tokens of a text; with `add_special`, with what the model wants around every text.
///
/// # Errors
/// If it cannot be tokenized.
pub fn tokens(model: &Model, text: &str, add_special: bool) -> Result<Vec<TokenId>, Error> {
    Ok(model.tokenizer().encode(text, add_special).map_err(edgellm::Error::from)?)
}
