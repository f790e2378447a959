//! The session class of the JavaScript interface.

use crate::generation::{Generation, Step};
use crate::options::{self, GenerateOptions};
use crate::{Failure, memory};
use edgellm::{Model, SessionOptions, TokenId};
use wasm_bindgen::prelude::wasm_bindgen;

/// Memory that processing takes besides the cache: buffers for a piece of a prompt, logits, the sampler's lists.
const WORKING_BYTES: u64 = 4 << 20;

/// A sequence of tokens, and the generation under way, if any.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Session {
    session: edgellm::Session,
    options: SessionOptions,
    /// Tokens in the session's cache.
    tokens: Vec<TokenId>,
    generation: Option<Generation>,
}

impl Session {
    pub(crate) fn new(model: &Model, options: SessionOptions) -> Result<Session, Failure> {
        let session = edgellm::Session::new(model, options)?;
        Ok(Session { session, options, tokens: Vec::new(), generation: None })
    }

    /// Ensures that there is memory for `count` more tokens before they are processed.
    fn make_room(&self, count: usize) -> Result<(), Failure> {
        let bytes = self.options.cache_bytes(self.session.model().config(), self.tokens.len() + count);
        let missing = bytes.saturating_sub(self.session.cache_bytes() as u64);
        if missing > 0 {
            memory::room(missing + WORKING_BYTES, "so long a conversation")?;
        }
        Ok(())
    }

    /// Processes tokens and returns the logits after the last one.
    fn process(&mut self, tokens: &[TokenId]) -> Result<&mut [f32], Failure> {
        self.make_room(tokens.len())?;
        let logits = self.session.prefill(tokens)?;
        self.tokens.extend_from_slice(tokens);
        Ok(logits)
    }
}

#[wasm_bindgen]
impl Session {
    /// Starts a generation after `prompt`, the whole sequence. The prefix that the session has already processed is
    /// kept; returns its length. `options` are `GenerateOptions` as JSON.
    ///
    /// # Errors
    /// `invalid`, `context_full`, `out_of_memory`; then nothing has changed.
    pub fn begin(&mut self, prompt: Vec<u32>, options: &str) -> Result<usize, Failure> {
        let options: GenerateOptions = options::parse(options)?;
        let capacity = self.session.capacity();
        if prompt.len() > capacity {
            let tokens = prompt.len();
            return Err(edgellm::Error::ContextFull { tokens, position: 0, capacity }.into());
        }
        let common = prompt.iter().zip(&self.tokens).take_while(|(new, old)| new == old).count();
        // At least one token must be processed to get logits.
        let common = common.min(prompt.len().saturating_sub(1));
        let generation = Generation::new(&self.session, &prompt, common, &options)?;
        self.session.truncate(common);
        self.tokens.truncate(common);
        self.make_room(prompt.len() - common)?;
        self.generation = Some(generation);
        Ok(common)
    }

    /// Processes up to `count` more tokens of the prompt; returns how many are left.
    ///
    /// # Errors
    /// `out_of_memory`; `invalid` if no generation was started.
    pub fn advance(&mut self, count: usize) -> Result<usize, Failure> {
        let mut generation = self.taken()?;
        let piece = generation.piece(count);
        if !piece.is_empty() {
            let logits = self.process(&piece)?;
            if generation.pending() == 0 {
                generation.begin(logits);
            }
        }
        let left = generation.pending();
        self.generation = Some(generation);
        Ok(left)
    }

    /// Returns the next token, once the whole prompt is processed; nothing after the end.
    ///
    /// # Errors
    /// As [`Session::advance`].
    #[wasm_bindgen(js_name = next)]
    pub fn step(&mut self) -> Result<Option<Step>, Failure> {
        let mut generation = self.taken()?;
        let last = generation.last();
        if last.is_some() {
            self.make_room(1)?;
        }
        let step = generation.next(&mut self.session)?;
        self.tokens.extend(last);
        self.generation = Some(generation);
        Ok(step)
    }

    /// Ends the generation. Text that was held back, because it may have begun a stop string, is lost.
    pub fn end(&mut self) {
        self.generation = None;
    }

    /// Appends tokens and returns the logits, (vocab_size), after them.
    ///
    /// # Errors
    /// `invalid`, `context_full`, `out_of_memory`.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Failure> {
        Ok(self.process(tokens)?.to_vec())
    }

    /// Forgets all tokens and frees their memory.
    ///
    /// # Errors
    /// None are expected.
    pub fn reset(&mut self) -> Result<(), Failure> {
        self.session = edgellm::Session::new(self.session.model(), self.options)?;
        self.tokens.clear();
        self.generation = None;
        Ok(())
    }

    /// Bytes of the key-value cache.
    #[wasm_bindgen(getter, js_name = cacheBytes)]
    pub fn cache_bytes(&self) -> f64 {
        self.session.cache_bytes() as f64
    }

    /// Takes the generation under way; the caller puts it back unless it fails.
    fn taken(&mut self) -> Result<Generation, Failure> {
        self.generation.take().ok_or_else(|| Failure::invalid("no generation is under way"))
    }
}
