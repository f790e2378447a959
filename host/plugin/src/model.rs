//! A model in its sandbox, and batches of its sessions.

use crate::bindings::exports::edgellm::inference::inference as wit;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::session::Session;
use crate::shared::Shared;
use std::fmt;
use std::sync::{Arc, Mutex};
use wasmtime::component::ResourceAny;
use wit::{Message, ModelInfo, SessionOptions, TokenId};

/// A model in a sandbox of its own, which ends with the last of its clones, sessions and batches.
///
/// They may be used from several threads; the guest has one thread, so they take turns.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

impl Model {
    pub(crate) fn new(mut sandbox: Sandbox, model: ResourceAny) -> Result<Self, Error> {
        let info = sandbox.call(|guest, store| guest.model().call_info(store, model))?;
        let cancel = sandbox.cancel();
        Ok(Model { shared: Arc::new(Shared { sandbox: Mutex::new(sandbox), model, info, cancel }) })
    }

    /// Metadata of the model file.
    pub fn info(&self) -> &ModelInfo {
        &self.shared.info
    }

    /// An empty session.
    ///
    /// # Errors
    /// [`Error::Guest`] if the context is longer than the model supports.
    pub fn session(&self, options: SessionOptions) -> Result<Session, Error> {
        let model = self.shared.model;
        let session = self
            .shared
            .sandbox()
            .try_call(|guest, store| guest.session().call_create(store, model, options))?;
        Ok(Session::new(Arc::clone(&self.shared), session))
    }

    /// Buffers to extend several sessions of this model in one pass over its weights.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn batch(&self) -> Result<Batch, Error> {
        let handle = self.shared.sandbox().call(|guest, store| guest.batch().call_constructor(store))?;
        Ok(Batch { shared: Arc::clone(&self.shared), handle })
    }

    /// Tokenizes a text; with `add_special`, with the model's special tokens around it.
    ///
    /// # Errors
    /// [`Error::Guest`] if it cannot be tokenized.
    pub fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, Error> {
        let model = self.shared.model;
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.model().call_tokenize(store, model, text, add_special))
    }

    /// Detokenizes, with or without special tokens.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn detokenize(&self, tokens: &[TokenId], skip_special: bool) -> Result<String, Error> {
        let model = self.shared.model;
        self.shared
            .sandbox()
            .call(|guest, store| guest.model().call_detokenize(store, model, tokens, skip_special))
    }

    /// Renders messages with the model's chat template, as a text to look at: [`Model::tokenize_chat`] gives its tokens.
    ///
    /// # Errors
    /// [`Error::Guest`] if there is no template, or it rejects them.
    pub fn apply_chat_template(&self, messages: &[Message]) -> Result<String, Error> {
        let model = self.shared.model;
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.model().call_apply_chat_template(store, model, messages))
    }

    /// The tokens of a prompt that the model's chat template makes of messages. Special tokens that are written in the
    /// messages are text, unless `parse_special_in_content`.
    ///
    /// # Errors
    /// [`Error::Guest`] if there is no template, or it rejects them.
    pub fn tokenize_chat(
        &self,
        messages: &[Message],
        parse_special_in_content: bool,
    ) -> Result<Vec<TokenId>, Error> {
        let model = self.shared.model;
        self.shared.sandbox().try_call(|guest, store| {
            guest.model().call_tokenize_chat(store, model, messages, parse_special_in_content)
        })
    }

    /// Stops the guest from another thread.
    pub fn cancel(&self) -> Cancel {
        self.shared.cancel.clone()
    }

    /// Bytes of the guest's linear memory and tables.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.sandbox().memory_bytes()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({}, plugin)", self.shared.info.name)
    }
}

/// Buffers to extend several sessions of one model at once; every session gets the bits it gets alone.
pub struct Batch {
    shared: Arc<Shared>,
    handle: ResourceAny,
}

/// A session and the tokens to extend it by.
#[derive(Debug)]
pub struct BatchRun<'a> {
    /// The session.
    pub session: &'a mut Session,
    /// Its next tokens.
    pub tokens: &'a [TokenId],
    /// After how many of the last tokens logits are wanted.
    pub wanted: usize,
}

impl Batch {
    /// Processes the runs together and returns the wanted logits, (sum of `wanted`, vocab_size), run after run.
    ///
    /// # Errors
    /// [`Error::Guest`] if a run does not fit its session, wants more rows than it has tokens, or is of another model.
    pub fn run(&mut self, runs: &[BatchRun<'_>]) -> Result<Vec<f32>, Error> {
        if runs.iter().any(|run| !Arc::ptr_eq(run.session.shared(), &self.shared)) {
            let message = "the sessions of a batch must belong to its model".to_string();
            return Err(Error::Guest { code: wit::ErrorCode::InvalidOption, message });
        }
        let wit_runs: Vec<wit::BatchRun> = runs
            .iter()
            .map(|run| wit::BatchRun {
                session: run.session.handle(),
                tokens: run.tokens.to_vec(),
                // More than the guest can count are more than a run has tokens, and refused there.
                wanted: u32::try_from(run.wanted).unwrap_or(u32::MAX),
            })
            .collect();
        let batch = self.handle;
        self.shared.sandbox().try_call(|guest, store| guest.batch().call_run(store, batch, &wit_runs))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.shared.sandbox().drop_resource(self.handle);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Batch")
    }
}
