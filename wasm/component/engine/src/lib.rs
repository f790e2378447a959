//! The engine as a component: world `engine` of `edgellm:inference` (`wit/inference.wit`).
//!
//! Only translation between the WIT's types and those of `edgellm` and `edgellm-component`.
#![deny(unsafe_code)]
// Other targets export nothing and only check the crate.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]

mod convert;

/// Generated from the WIT by `wit-bindgen`.
#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "engine" });

    #[cfg(target_arch = "wasm32")]
    export!(Engine with_types_in self);

    use super::Engine;
}

use bindings::edgellm::inference::host_files;
use bindings::exports::edgellm::inference::inference as wit;
use edgellm::{Batch, BatchRun, TokenId};
use edgellm_component::{Error, Generation, ModelBytes};
use std::cell::RefCell;
use std::rc::Rc;

struct Engine;

impl wit::Guest for Engine {
    type Model = Model;
    type ModelUpload = ModelUpload;
    type Session = Session;
    type Generation = GenerationCell;
    type Batch = BatchCell;
}

type Result<T> = std::result::Result<T, wit::Error>;

fn open(bytes: Vec<u8>) -> Result<wit::Model> {
    let model = edgellm::Model::from_bytes(bytes).map_err(Error::from)?;
    Ok(wit::Model::new(Model(model)))
}

struct Model(edgellm::Model);

impl wit::GuestModel for Model {
    fn open(path: String) -> Result<wit::Model> {
        edgellm_component::report_panics();
        open(edgellm_component::open_file(&path)?)
    }

    fn open_host_file(name: String) -> Result<wit::Model> {
        edgellm_component::report_panics();
        let failed = |reason| Error::Read { path: name.clone(), reason };
        let mut bytes = ModelBytes::reserve(host_files::size(&name).map_err(failed)?)?;
        bytes.fill(|offset, length| {
            // A piece is far smaller than 4 GiB.
            host_files::read_at(&name, offset, length as u32).map_err(failed)
        })?;
        open(bytes.complete()?)
    }

    fn info(&self) -> wit::ModelInfo {
        convert::info(&self.0)
    }

    fn tokenize(&self, text: String, add_special: bool) -> Result<Vec<TokenId>> {
        Ok(edgellm_component::tokens(&self.0, &text, add_special)?)
    }

    fn detokenize(&self, tokens: Vec<TokenId>, skip_special: bool) -> String {
        self.0.tokenizer().decode(&tokens, skip_special)
    }

    fn apply_chat_template(&self, messages: Vec<wit::Message>) -> Result<String> {
        Ok(edgellm_component::chat_text(&self.0, &convert::messages(messages))?)
    }

    fn tokenize_chat(
        &self,
        messages: Vec<wit::Message>,
        parse_special_in_content: bool,
    ) -> Result<Vec<TokenId>> {
        Ok(edgellm_component::chat_prompt(&self.0, &convert::messages(messages), parse_special_in_content)?)
    }
}

struct ModelUpload(RefCell<ModelBytes>);

impl wit::GuestModelUpload for ModelUpload {
    fn begin(length: u64) -> Result<wit::ModelUpload> {
        edgellm_component::report_panics();
        Ok(wit::ModelUpload::new(ModelUpload(RefCell::new(ModelBytes::reserve(length)?))))
    }

    fn write(&self, piece: Vec<u8>) -> Result<()> {
        Ok(self.0.borrow_mut().push(&piece)?)
    }

    fn finish(upload: wit::ModelUpload) -> Result<wit::Model> {
        open(upload.into_inner::<ModelUpload>().0.into_inner().complete()?)
    }
}

struct Session(Rc<RefCell<edgellm::Session>>);

impl Session {
    fn handle(session: edgellm::Session) -> wit::Session {
        wit::Session::new(Session(Rc::new(RefCell::new(session))))
    }
}

impl wit::GuestSession for Session {
    fn create(model: wit::ModelBorrow<'_>, options: wit::SessionOptions) -> Result<wit::Session> {
        let model = &model.get::<Model>().0;
        let session = edgellm::Session::new(model, convert::session_options(options)).map_err(Error::from)?;
        Ok(Session::handle(session))
    }

    fn position(&self) -> u32 {
        self.0.borrow().position() as u32
    }

    fn capacity(&self) -> u32 {
        self.0.borrow().capacity() as u32
    }

    fn cache_bytes(&self) -> u64 {
        self.0.borrow().cache_bytes() as u64
    }

    fn prefill(&self, tokens: Vec<TokenId>) -> Result<Vec<f32>> {
        Ok(self.0.borrow_mut().prefill(&tokens).map_err(Error::from)?.to_vec())
    }

    fn decode(&self, token: TokenId) -> Result<Vec<f32>> {
        Ok(self.0.borrow_mut().decode(token).map_err(Error::from)?.to_vec())
    }

    fn hidden_states(&self, tokens: Vec<TokenId>) -> Result<Vec<f32>> {
        let mut states = Vec::new();
        let mut session = self.0.borrow_mut();
        session.prefill_hidden(&tokens, |state| states.extend_from_slice(state)).map_err(Error::from)?;
        Ok(states)
    }

    fn reserve(&self, tokens: u32) -> Result<()> {
        Ok(self.0.borrow_mut().reserve(tokens as usize).map_err(Error::from)?)
    }

    fn truncate(&self, position: u32) {
        self.0.borrow_mut().truncate(position as usize);
    }

    fn fork(&self, positions: u32) -> wit::Session {
        Session::handle(self.0.borrow().fork(positions as usize))
    }

    fn generate(&self, prompt: wit::Prompt, options: wit::GenerateOptions) -> Result<wit::Generation> {
        let model = self.0.borrow().model().clone();
        let tokens = match prompt {
            wit::Prompt::Text(text) => edgellm_component::tokens(&model, &text, true)?,
            wit::Prompt::Chat(messages) => {
                edgellm_component::chat_prompt(&model, &convert::messages(messages), false)?
            }
            wit::Prompt::Tokens(tokens) => tokens,
        };
        let generation = Generation::start(Rc::clone(&self.0), &tokens, convert::generate_options(options))?;
        Ok(wit::Generation::new(GenerationCell(RefCell::new(generation))))
    }
}

struct GenerationCell(RefCell<Generation>);

impl wit::GuestGeneration for GenerationCell {
    fn next(&self) -> Result<Option<wit::Token>> {
        Ok(self.0.borrow_mut().next_token()?.map(convert::token))
    }

    fn finish(&self) -> Option<wit::FinishReason> {
        self.0.borrow().finish_reason().map(convert::finish_reason)
    }

    fn timings(&self) -> wit::Timings {
        convert::timings(self.0.borrow().timings())
    }
}

struct BatchCell(RefCell<Batch>);

impl wit::GuestBatch for BatchCell {
    fn new() -> Self {
        BatchCell(RefCell::new(Batch::default()))
    }

    fn run(&self, runs: Vec<wit::BatchRun<'_>>) -> Result<Vec<f32>> {
        let mut sessions = Vec::with_capacity(runs.len());
        for run in &runs {
            let session = &run.session.get::<Session>().0;
            // Each session may be borrowed by one run only.
            sessions.push(session.try_borrow_mut().map_err(|_| convert::twice())?);
        }
        let mut batch_runs: Vec<BatchRun<'_>> = Vec::with_capacity(runs.len());
        for (run, session) in runs.iter().zip(&mut sessions) {
            batch_runs.push(BatchRun::new(session, &run.tokens).wanted(run.wanted as usize));
        }
        Ok(self.0.borrow_mut().run(&mut batch_runs).map_err(Error::from)?.to_vec())
    }
}
