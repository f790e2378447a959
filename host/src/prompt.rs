//! From messages to the tokens of a prompt.

use crate::error::Result;
use edgellm::chat::{ChatTemplate, DateTime, Message};
use edgellm::{Model, TokenId};
use std::time::{SystemTime, UNIX_EPOCH};

/// The model's chat template, if it has one.
///
/// # Errors
/// If it has one that cannot be used.
pub(crate) fn template(model: &Model) -> Result<Option<ChatTemplate>> {
    let Some(source) = &model.metadata().chat_template else { return Ok(None) };
    let text = |id: Option<TokenId>| id.and_then(|id| model.tokenizer().id_to_token(id)).unwrap_or_default();
    let config = model.config();
    let (bos, eos) = (text(config.bos_token_id), text(config.eos_token_ids.first().copied()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = DateTime::from_unix(i64::try_from(now).unwrap_or(0));
    Ok(Some(ChatTemplate::new(source.as_str(), bos, eos)?.with_date(now)))
}

/// The prompt for the assistant's next message.
///
/// # Errors
/// If the template refuses the messages.
pub(crate) fn chat(model: &Model, template: &ChatTemplate, messages: &[Message]) -> Result<Vec<TokenId>> {
    // The template writes what stands around a text; adding it again would double it.
    let text = template.render(messages, true)?;
    Ok(model.tokenizer().encode(&text, false).map_err(edgellm::Error::from)?)
}

/// The prompt that is `text` and nothing else but what the model wants before every text.
///
/// # Errors
/// If it cannot be tokenized.
pub(crate) fn plain(model: &Model, text: &str) -> Result<Vec<TokenId>> {
    Ok(model.tokenizer().encode(text, true).map_err(edgellm::Error::from)?)
}
