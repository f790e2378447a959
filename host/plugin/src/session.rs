//! One sequence of tokens in the sandbox, and what it generates.

use crate::bindings::exports::edgellm::inference::inference::{
    FinishReason, GenerateOptions, Prompt, Timings, Token, TokenId,
};
use crate::error::Error;
use crate::shared::Shared;
use std::fmt;
use std::sync::Arc;
use wasmtime::component::ResourceAny;

/// One sequence of tokens on a model; its key-value cache lies in the model's sandbox.
pub struct Session {
    shared: Arc<Shared>,
    handle: ResourceAny,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, handle: ResourceAny) -> Self {
        Session { shared, handle }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn handle(&self) -> ResourceAny {
        self.handle
    }

    /// Tokens processed so far.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn position(&self) -> Result<usize, Error> {
        let position =
            self.shared.sandbox().call(|guest, store| guest.session().call_position(store, self.handle))?;
        Ok(position as usize)
    }

    /// Tokens the session may hold.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn capacity(&self) -> Result<usize, Error> {
        let capacity =
            self.shared.sandbox().call(|guest, store| guest.session().call_capacity(store, self.handle))?;
        Ok(capacity as usize)
    }

    /// Bytes of the key-value cache.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn cache_bytes(&self) -> Result<u64, Error> {
        self.shared.sandbox().call(|guest, store| guest.session().call_cache_bytes(store, self.handle))
    }

    /// Processes `tokens` and returns the logits, (vocab_size), of what follows the last one.
    ///
    /// # Errors
    /// [`Error::Guest`] if there are none, one is not in the vocabulary, or they do not fit.
    pub fn prefill(&mut self, tokens: &[TokenId]) -> Result<Vec<f32>, Error> {
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.session().call_prefill(store, self.handle, tokens))
    }

    /// Processes one token and returns the logits, (vocab_size), of what follows.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn decode(&mut self, token: TokenId) -> Result<Vec<f32>, Error> {
        self.shared.sandbox().try_call(|guest, store| guest.session().call_decode(store, self.handle, token))
    }

    /// Processes `tokens` and returns their normalized hidden states, (tokens, hidden_size).
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn hidden_states(&mut self, tokens: &[TokenId]) -> Result<Vec<f32>, Error> {
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.session().call_hidden_states(store, self.handle, tokens))
    }

    /// Takes memory for `tokens` more tokens now.
    ///
    /// # Errors
    /// [`Error::Guest`] if they do not fit into the context.
    pub fn reserve(&mut self, tokens: u32) -> Result<(), Error> {
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.session().call_reserve(store, self.handle, tokens))
    }

    /// Forgets all tokens from `position` on.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn truncate(&mut self, position: u32) -> Result<(), Error> {
        self.shared.sandbox().call(|guest, store| guest.session().call_truncate(store, self.handle, position))
    }

    /// A session that begins with the first `positions` tokens of this one.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn fork(&self, positions: u32) -> Result<Session, Error> {
        let handle = self
            .shared
            .sandbox()
            .call(|guest, store| guest.session().call_fork(store, self.handle, positions))?;
        Ok(Session::new(Arc::clone(&self.shared), handle))
    }

    /// Processes the prompt and generates from there. Dropping the iterator cancels it.
    ///
    /// # Errors
    /// [`Error::Guest`] if an option is out of range, or the prompt does not fit or is refused by the template.
    pub fn generate(&mut self, prompt: &Prompt, options: &GenerateOptions) -> Result<Generation<'_>, Error> {
        let session = self.handle;
        let handle = self
            .shared
            .sandbox()
            .try_call(|guest, store| guest.session().call_generate(store, session, prompt, options))?;
        Ok(Generation { session: self, handle, over: false })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.sandbox().drop_resource(self.handle);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(plugin)")
    }
}

/// An iterator over generated tokens; what [`Session::generate`] gives.
pub struct Generation<'a> {
    session: &'a mut Session,
    handle: ResourceAny,
    over: bool,
}

impl Generation<'_> {
    /// Why it ended; `None` while it goes on.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn finish_reason(&self) -> Result<Option<FinishReason>, Error> {
        let mut sandbox = self.session.shared.sandbox();
        sandbox.call(|guest, store| guest.generation().call_finish(store, self.handle))
    }

    /// What it took so far.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn timings(&self) -> Result<Timings, Error> {
        let mut sandbox = self.session.shared.sandbox();
        sandbox.call(|guest, store| guest.generation().call_timings(store, self.handle))
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let handle = self.handle;
        let mut sandbox = self.session.shared.sandbox();
        let token = sandbox.try_call(|guest, store| guest.generation().call_next(store, handle));
        self.over = !matches!(token, Ok(Some(_)));
        token.transpose()
    }
}

impl std::iter::FusedIterator for Generation<'_> {}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.session.shared.sandbox().drop_resource(self.handle);
    }
}

impl fmt::Debug for Generation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generation(plugin)")
    }
}
