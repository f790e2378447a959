//! Runners: what computes a model's steps, in this process or elsewhere, as in a sandbox.

use edgellm::{Batch, BatchRun, Model, Session, SessionOptions, TokenId};
use std::fmt;

/// Why a runner failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The engine in this process rejected a call.
    #[error(transparent)]
    Engine(#[from] edgellm::Error),
    /// A runner outside this process failed; see [`RunnerError::remote`].
    #[error(transparent)]
    Remote(Box<dyn std::error::Error + Send + Sync>),
    /// The runner returned a wrong number of logits.
    #[error("the runner returned {actual} logits instead of {expected}")]
    Logits {
        /// Wanted rows times vocabulary size.
        expected: usize,
        /// How many came.
        actual: usize,
    },
    /// The runner returned hidden states of a wrong size.
    #[error(
        "the runner returned {actual} numbers for the hidden states of {tokens} tokens instead of {expected}"
    )]
    HiddenStates {
        /// Tokens processed.
        tokens: usize,
        /// Tokens times hidden size.
        expected: usize,
        /// How many came.
        actual: usize,
    },
}

impl RunnerError {
    /// The error of a runner outside this process.
    pub fn remote(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        RunnerError::Remote(error.into())
    }
}

/// Runs the steps of one model. It is owned by one thread.
pub trait Runner: Send + 'static {
    /// Its sessions.
    type Session: RunnerSession;

    /// An empty session.
    ///
    /// # Errors
    /// If the options do not suit the model, or the runner is broken.
    fn session(&mut self, options: SessionOptions) -> Result<Self::Session, RunnerError>;

    /// Extends sessions together, and returns the wanted logits, (sum of `wanted`, vocab_size), run after run.
    ///
    /// # Errors
    /// If that is not possible; the caller then drops all sessions and calls [`Runner::restart`].
    fn run(&mut self, runs: &mut [Run<'_, Self::Session>]) -> Result<&mut [f32], RunnerError>;

    /// Restores the initial state after an error. All of its sessions have been dropped.
    ///
    /// # Errors
    /// If the runner is broken for good.
    fn restart(&mut self) -> Result<(), RunnerError>;
}

/// A session and the tokens to extend it by.
#[derive(Debug)]
pub struct Run<'a, S> {
    /// The session.
    pub session: &'a mut S,
    /// Its next tokens.
    pub tokens: &'a [TokenId],
    /// After how many of the last tokens logits are wanted; at most the number of tokens.
    pub wanted: usize,
}

/// A session on a runner's model.
pub trait RunnerSession: Sized + Send + fmt::Debug + 'static {
    /// Tokens processed so far.
    fn position(&self) -> usize;

    /// Tokens that it can hold.
    fn capacity(&self) -> usize;

    /// Bytes of its KV cache.
    fn cache_bytes(&self) -> u64;

    /// Allocates memory for this many more tokens.
    ///
    /// # Errors
    /// If they do not fit.
    fn reserve(&mut self, tokens: usize) -> Result<(), RunnerError>;

    /// Forgets all tokens from `position` on.
    fn truncate(&mut self, position: usize);

    /// A session that begins with a copy of the first `positions` tokens of this one.
    ///
    /// # Errors
    /// If the runner is broken.
    fn fork(&self, positions: usize) -> Result<Self, RunnerError>;

    /// Processes `tokens` and passes the normalized hidden state, (hidden_size), of each to `each`.
    ///
    /// # Errors
    /// If they do not fit, or the runner is broken.
    fn prefill_hidden(&mut self, tokens: &[TokenId], each: impl FnMut(&[f32])) -> Result<(), RunnerError>;
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

    fn session(&mut self, options: SessionOptions) -> Result<Session, RunnerError> {
        Ok(Session::new(&self.model, options)?)
    }

    fn run(&mut self, runs: &mut [Run<'_, Session>]) -> Result<&mut [f32], RunnerError> {
        let mut runs: Vec<BatchRun<'_>> = runs
            .iter_mut()
            .map(|Run { session, tokens, wanted }| BatchRun::new(session, tokens).wanted(*wanted))
            .collect();
        Ok(self.batch.run(&mut runs)?)
    }

    fn restart(&mut self) -> Result<(), RunnerError> {
        self.batch = Batch::default();
        Ok(())
    }
}

impl RunnerSession for Session {
    fn position(&self) -> usize {
        Session::position(self)
    }

    fn capacity(&self) -> usize {
        Session::capacity(self)
    }

    fn cache_bytes(&self) -> u64 {
        Session::cache_bytes(self) as u64
    }

    fn reserve(&mut self, tokens: usize) -> Result<(), RunnerError> {
        Ok(Session::reserve(self, tokens)?)
    }

    fn truncate(&mut self, position: usize) {
        Session::truncate(self, position);
    }

    fn fork(&self, positions: usize) -> Result<Self, RunnerError> {
        Ok(Session::fork(self, positions))
    }

    fn prefill_hidden(&mut self, tokens: &[TokenId], each: impl FnMut(&[f32])) -> Result<(), RunnerError> {
        Ok(Session::prefill_hidden(self, tokens, each)?)
    }
}
