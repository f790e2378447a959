//! What tokenizing a text may cost.

use super::TokenizerError;

/// What tokenizing a text may cost: how many tokens it may have, and until when somebody waits for them.
///
/// ```
/// use edgellm::tokenizer::EncodeLimit;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let left = AtomicBool::new(false);
/// let client_left = || left.load(Ordering::Relaxed);
/// let limit = EncodeLimit::default().tokens(2048).interrupt(&client_left);
/// # let _ = limit;
/// ```
#[derive(Clone, Copy, Default)]
pub struct EncodeLimit<'a> {
    tokens: Option<usize>,
    interrupt: Option<&'a (dyn Fn() -> bool + Sync)>,
}

impl<'a> EncodeLimit<'a> {
    /// At most this many tokens; a longer text is [`TokenizerError::TooManyTokens`].
    pub fn tokens(mut self, most: usize) -> Self {
        self.tokens = Some(most);
        self
    }

    /// Ends with [`TokenizerError::Interrupted`] soon after this is true: it is asked every few milliseconds or more often.
    pub fn interrupt(mut self, interrupt: &'a (dyn Fn() -> bool + Sync)) -> Self {
        self.interrupt = Some(interrupt);
        self
    }

    /// Whether to go on after `tokens` tokens.
    pub(super) fn check(&self, tokens: usize) -> Result<(), TokenizerError> {
        match (self.tokens, self.interrupt) {
            (Some(most), _) if tokens > most => Err(TokenizerError::TooManyTokens { most }),
            (_, Some(interrupt)) if interrupt() => Err(TokenizerError::Interrupted),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for EncodeLimit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodeLimit").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
