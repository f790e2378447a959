//! A rendered conversation.

use crate::TokenId;
use crate::jinja::Text;
use crate::tokenizer::{EncodeLimit, Tokenizer, TokenizerError};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The prompt that a chat template makes of a conversation. It knows which of its characters came with the messages and
/// tools, so that nobody can write a control token into them.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatPrompt {
    text: Arc<str>,
    /// The bytes that came with messages and tools.
    input: Vec<Range<usize>>,
}

impl ChatPrompt {
    pub(super) fn new(text: Text) -> Self {
        let (text, input) = text.into_parts();
        ChatPrompt { text, input }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its tokens. Special tokens that the template wrote are tokens; those in messages and tools are text, or tokens as
    /// well with `parse_special_in_content`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        parse_special_in_content: bool,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        self.tokenize_within(tokenizer, parse_special_in_content, &EncodeLimit::default())
    }

    /// [`ChatPrompt::tokenize`] within a limit.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], [`TokenizerError::TooManyTokens`] or [`TokenizerError::Interrupted`].
    pub fn tokenize_within(
        &self,
        tokenizer: &Tokenizer,
        parse_special_in_content: bool,
        limit: &EncodeLimit<'_>,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        // The template writes the tokens around a text itself; adding them again would double them.
        if parse_special_in_content {
            return tokenizer.encode_within(&self.text, false, limit);
        }
        tokenizer.encode_with_untrusted(&self.text, &self.input, limit)
    }
}

impl fmt::Debug for ChatPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}
