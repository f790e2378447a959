//! What tokenizing a text may cost.

use super::TokenizerError;
use std::cell::Cell;

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
}

impl std::fmt::Debug for EncodeLimit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodeLimit").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// Small steps, such as a character or a word, between two looks at the interrupt.
const STEPS: u32 = 4096;

/// Watches a limit while a text is tokenized.
pub(super) struct Meter<'a> {
    limit: EncodeLimit<'a>,
    steps: Cell<u32>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(limit: &EncodeLimit<'a>) -> Self {
        Meter { limit: *limit, steps: Cell::new(0) }
    }

    /// Whether to go on after a small step.
    pub(super) fn step(&self) -> Result<(), TokenizerError> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() < STEPS { Ok(()) } else { self.look() }
    }

    /// Whether to go on before work of a millisecond or more.
    pub(super) fn look(&self) -> Result<(), TokenizerError> {
        self.steps.set(0);
        match self.limit.interrupt {
            Some(interrupt) if interrupt() => Err(TokenizerError::Interrupted),
            _ => Ok(()),
        }
    }

    /// Whether so many tokens are allowed.
    pub(super) fn tokens(&self, tokens: usize) -> Result<(), TokenizerError> {
        match self.limit.tokens {
            Some(most) if tokens > most => Err(TokenizerError::TooManyTokens { most }),
            _ => Ok(()),
        }
    }
}
