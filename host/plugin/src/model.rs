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
/// They may be used from several threads; the guest has one, so they take turns.
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

    /// What the file says about itself.
    pub fn info(&self) -> &ModelInfo {
        &self.shared.info
    }

    /// An empty session.
    ///
    /// # Errors
    /// [`Error::Guest`] if more context is wanted than the model was made for.
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

    /// The tokens of a text; with `add_special`, with those that the model wants around every text.
    ///
    /// # Errors
    /// [`Error::Guest`] if it cannot be split.
    pub fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, Error> {
        let model = self.shared.model;
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.model().call_tokenize(store, model, text, add_special))
    }

    /// The text of tokens, with or without the special ones.
    ///
    /// # Errors
    /// If the sandbox is over.
    pub fn detokenize(&self, tokens: &[TokenId], skip_special: bool) -> Result<String, Error> {
        let model = self.shared.model;
        self.shared
            .sandbox()
            .call(|guest, store| guest.model().call_detokenize(store, model, tokens, skip_special))
    }

    /// The prompt that the model's chat template makes of messages.
    ///
    /// # Errors
    /// [`Error::Guest`] if there is no template, or it refuses them.
    pub fn apply_chat_template(&self, messages: &[Message]) -> Result<String, Error> {
        let model = self.shared.model;
        self.shared
            .sandbox()
            .try_call(|guest, store| guest.model().call_apply_chat_template(store, model, messages))
    }

    /// What stops the guest from another thread.
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
    /// Whether the logits after the last one are wanted.
    pub logits: bool,
}

impl Batch {
    /// Processes the runs together and returns the logits after each one's last token, (runs that want logits,
    /// vocab_size).
    ///
    /// # Errors
    /// [`Error::Guest`] if a run does not fit its session or is of another model.
    pub fn run(&mut self, runs: &[BatchRun<'_>]) -> Result<Vec<f32>, Error> {
        if runs.iter().any(|run| !Arc::ptr_eq(run.session.shared(), &self.shared)) {
            let message = "the sessions of a batch must be of its model".to_string();
            return Err(Error::Guest { code: wit::ErrorCode::InvalidOption, message });
        }
        let wit_runs: Vec<wit::BatchRun> = runs
            .iter()
            .map(|run| wit::BatchRun {
                session: run.session.handle(),
                tokens: run.tokens.to_vec(),
                logits: run.logits,
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
