//! A guest that attacks its host. Which way is said by the path of the model that it is asked to open; what came of it
//! is the error that it answers with, where it lives to answer.
#![deny(unsafe_code)]
// Elsewhere nothing is exported; the crate is only checked.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]

mod attack;

/// What `wit-bindgen` makes of the WIT.
#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "engine" });

    #[cfg(target_arch = "wasm32")]
    export!(Hostile with_types_in self);

    use super::Hostile;
}

use bindings::exports::edgellm::inference::inference as wit;
use std::cell::Cell;

struct Hostile;

impl wit::Guest for Hostile {
    type Model = Model;
    type ModelUpload = Never;
    type Session = Session;
    type Generation = Generation;
    type Batch = Batch;
}

type Result<T> = std::result::Result<T, wit::Error>;

fn said<T>(message: impl Into<String>) -> Result<T> {
    Err(wit::Error { code: wit::ErrorCode::Io, message: message.into() })
}

/// A model that is an attack, or opens and waits for its moment.
struct Model {
    attack: String,
}

impl wit::GuestModel for Model {
    fn open(path: String) -> Result<wit::Model> {
        match attack::run(&path) {
            Some(outcome) => said(outcome),
            None => Ok(wit::Model::new(Model { attack: path })),
        }
    }

    fn open_host_file(name: String) -> Result<wit::Model> {
        // More than was asked for, from behind the end.
        let answer = bindings::edgellm::inference::host_files::read_at(&name, u64::MAX - 1, u32::MAX);
        said(format!("{answer:?}"))
    }

    fn info(&self) -> wit::ModelInfo {
        let name = if self.attack == "long-name" { "x".repeat(512 << 20) } else { "hostile".to_string() };
        wit::ModelInfo {
            name,
            model_type: String::new(),
            format: String::new(),
            vocab_size: 4,
            max_position_embeddings: 16,
            hidden_size: 1,
            num_hidden_layers: 1,
            has_chat_template: false,
            file_bytes: 0,
            kernels: String::new(),
        }
    }

    fn tokenize(&self, _: String, _: bool) -> Result<Vec<u32>> {
        Ok(vec![0; 256 << 20])
    }

    fn detokenize(&self, _: Vec<u32>, _: bool) -> String {
        attack::spin()
    }

    fn apply_chat_template(&self, _: Vec<wit::Message>) -> Result<String> {
        panic!("a template from hell")
    }

    fn tokenize_chat(&self, _: Vec<wit::Message>, _: bool) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }
}

/// What this guest does not offer.
struct Never;

impl wit::GuestModelUpload for Never {
    fn begin(_: u64) -> Result<wit::ModelUpload> {
        said("nothing to upload")
    }

    fn write(&self, _: Vec<u8>) -> Result<()> {
        said("nothing to upload")
    }

    fn finish(_: wit::ModelUpload) -> Result<wit::Model> {
        said("nothing to upload")
    }
}

struct Session;

impl wit::GuestSession for Session {
    fn create(_: wit::ModelBorrow<'_>, _: wit::SessionOptions) -> Result<wit::Session> {
        Ok(wit::Session::new(Session))
    }

    fn position(&self) -> u32 {
        u32::MAX
    }

    fn capacity(&self) -> u32 {
        0
    }

    fn cache_bytes(&self) -> u64 {
        u64::MAX
    }

    fn prefill(&self, _: Vec<u32>) -> Result<Vec<f32>> {
        // Not one logit, whatever the vocabulary was said to be.
        Ok(Vec::new())
    }

    fn decode(&self, _: u32) -> Result<Vec<f32>> {
        Ok(vec![f32::NAN; 3])
    }

    fn hidden_states(&self, _: Vec<u32>) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }

    fn reserve(&self, _: u32) -> Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u32) {}

    fn fork(&self, _: u32) -> wit::Session {
        wit::Session::new(Session)
    }

    fn generate(&self, _: wit::Prompt, _: wit::GenerateOptions) -> Result<wit::Generation> {
        Ok(wit::Generation::new(Generation(Cell::new(0))))
    }
}

/// Three tokens, then a trap.
struct Generation(Cell<u32>);

impl wit::GuestGeneration for Generation {
    fn next(&self) -> Result<Option<wit::Token>> {
        let index = self.0.get();
        self.0.set(index + 1);
        if index == 3 {
            panic!("trapped in the middle of a stream");
        }
        Ok(Some(wit::Token { id: index, text: format!("{index} "), logprob: None }))
    }

    fn finish(&self) -> Option<wit::FinishReason> {
        None
    }

    fn timings(&self) -> wit::Timings {
        wit::Timings { prompt_tokens: 0, generated_tokens: 0, prefill_ns: 0, decode_ns: 0 }
    }
}

struct Batch;

impl wit::GuestBatch for Batch {
    fn new() -> Self {
        Batch
    }

    fn run(&self, _: Vec<wit::BatchRun<'_>>) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }
}
