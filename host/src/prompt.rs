//! From messages or text to the tokens of a prompt.

use crate::error::Result;
use crate::progress;
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

/// The text that came through a pipe. Bytes that are not UTF-8 become U+FFFD, with a note that says so.
pub(crate) fn decode(bytes: &[u8]) -> String {
    // Some programs begin every file with it.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if let Err(error) = std::str::from_utf8(bytes) {
        let (at, byte) = (error.valid_up_to(), bytes.get(error.valid_up_to()).copied().unwrap_or_default());
        progress::note(&format!(
            "the input is not UTF-8 (byte {byte:#04x} at offset {at}), so some characters became U+FFFD: convert it, for example \
             with iconv"
        ));
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// The prompt for the assistant's next message. Special tokens in the messages are text, unless
/// `parse_special_in_content`.
///
/// # Errors
/// If the template refuses the messages.
pub(crate) fn chat(
    model: &Model,
    template: &ChatTemplate,
    messages: &[Message],
    parse_special_in_content: bool,
) -> Result<Vec<TokenId>> {
    let prompt = template.render(messages, true)?;
    Ok(prompt.tokenize(model.tokenizer(), parse_special_in_content).map_err(edgellm::Error::from)?)
}

/// The tokens of `text` with the model's special tokens, and without a chat template.
///
/// # Errors
/// If it cannot be tokenized.
pub(crate) fn plain(model: &Model, text: &str) -> Result<Vec<TokenId>> {
    Ok(model.tokenizer().encode(text, true).map_err(edgellm::Error::from)?)
}
