//! What runs a model's steps: the engine in this process, or one somewhere else, as in a sandbox.

use edgellm::{Batch, BatchRun, Model, Session, SessionOptions, TokenId};
use std::fmt;

/// Runs the steps of one model. One thread owns it.
pub trait Runner: Send + 'static {
    /// One sequence of tokens.
    type Session: Sequence;

    /// An empty session.
    ///
    /// # Errors
    /// If the options do not suit the model, or the runner is broken.
    fn session(&mut self, options: SessionOptions) -> Result<Self::Session, String>;

    /// Extends sessions together, and gives the logits after the last token of each that wants them, (runs that want
    /// logits, vocab_size).
    ///
    /// # Errors
    /// If that is not possible; the caller then drops all sessions and calls [`Runner::restart`].
    fn run(&mut self, runs: &mut [Run<'_, Self::Session>]) -> Result<&mut [f32], String>;

    /// Makes it as new after an error. No session of its is left.
    ///
    /// # Errors
    /// If it cannot be used any longer.
    fn restart(&mut self) -> Result<(), String>;
}

/// A session and the tokens to extend it by.
#[derive(Debug)]
pub struct Run<'a, S> {
    /// The session.
    pub session: &'a mut S,
    /// Its next tokens.
    pub tokens: &'a [TokenId],
    /// Whether the logits after the last one are wanted.
    pub logits: bool,
}

/// One sequence of tokens on a runner's model.
pub trait Sequence: Sized + Send + fmt::Debug + 'static {
    /// Tokens processed so far.
    fn position(&self) -> usize;

    /// Tokens it may hold.
    fn capacity(&self) -> usize;

    /// Bytes of its key-value cache.
    fn cache_bytes(&self) -> u64;

    /// Takes memory for so many more tokens.
    ///
    /// # Errors
    /// If they do not fit.
    fn reserve(&mut self, tokens: usize) -> Result<(), String>;

    /// Forgets all tokens from `position` on.
    fn truncate(&mut self, position: usize);

    /// A session that begins with the first `positions` tokens of this one.
    ///
    /// # Errors
    /// If the runner is broken.
    fn fork(&self, positions: usize) -> Result<Self, String>;

    /// Processes `tokens` and hands the normalized hidden state, (hidden_size), of each to `each`.
    ///
    /// # Errors
    /// If they do not fit, or the runner is broken.
    fn prefill_hidden(&mut self, tokens: &[TokenId], each: impl FnMut(&[f32])) -> Result<(), String>;
}

/// The engine in this process.
#[derive(Debug)]
pub(crate) struct Native {
    model: Model,
    batch: Batch,
}

impl Native {
    pub(crate) fn new(model: &Model) -> Self {
        Native { model: model.clone(), batch: Batch::default() }
    }
}

impl Runner for Native {
    type Session = Session;

    fn session(&mut self, options: SessionOptions) -> Result<Session, String> {
        Session::new(&self.model, options).map_err(|error| error.to_string())
    }

    fn run(&mut self, runs: &mut [Run<'_, Session>]) -> Result<&mut [f32], String> {
        let mut runs: Vec<BatchRun<'_>> = runs
            .iter_mut()
            .map(|Run { session, tokens, logits }| {
                if *logits {
                    BatchRun::new(session, tokens)
                } else {
                    BatchRun::without_logits(session, tokens)
                }
            })
            .collect();
        self.batch.run(&mut runs).map_err(|error| error.to_string())
    }

    fn restart(&mut self) -> Result<(), String> {
        self.batch = Batch::default();
        Ok(())
    }
}

impl Sequence for Session {
    fn position(&self) -> usize {
        Session::position(self)
    }

    fn capacity(&self) -> usize {
        Session::capacity(self)
    }

    fn cache_bytes(&self) -> u64 {
        Session::cache_bytes(self) as u64
    }

    fn reserve(&mut self, tokens: usize) -> Result<(), String> {
        Session::reserve(self, tokens).map_err(|error| error.to_string())
    }

    fn truncate(&mut self, position: usize) {
        Session::truncate(self, position);
    }

    fn fork(&self, positions: usize) -> Result<Self, String> {
        Ok(Session::fork(self, positions))
    }

    fn prefill_hidden(&mut self, tokens: &[TokenId], each: impl FnMut(&[f32])) -> Result<(), String> {
        Session::prefill_hidden(self, tokens, each).map_err(|error| error.to_string())
    }
}
