//! The text of single tokens, for log probabilities.

use crate::registry::Loaded;
use edgellm::TokenId;

/// Text and bytes of a token.
pub(super) fn spelling(model: &Loaded, id: TokenId) -> (String, Option<Vec<u8>>) {
    let bytes = model.model.tokenizer().token_bytes(id);
    let text = bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (text.unwrap_or_default(), bytes)
}
