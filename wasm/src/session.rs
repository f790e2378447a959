//! A session, as JavaScript sees it.

use crate::generation::{Generation, Step};
use crate::options::{self, GenerateOptions};
use crate::{Failure, info, memory};
use edgellm::kernels::page::PAGE_POSITIONS;
use edgellm::{Model, SessionOptions, TokenId};
use wasm_bindgen::prelude::wasm_bindgen;

/// Room for what processing takes besides the cache: buffers of a piece of a prompt, logits, the sampler's lists.
const WORKING_BYTES: u64 = 4 << 20;

/// A sequence of tokens, and the answer it is in the middle of.
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

    /// Makes sure of the memory that `count` more tokens take, before they are processed.
    fn make_room(&self, count: usize) -> Result<(), Failure> {
        let page = info::cache_page_bytes(self.session.model().config(), self.options.kv_cache);
        let pages = (self.tokens.len() + count).div_ceil(PAGE_POSITIONS) as u64;
        let missing = (pages * page).saturating_sub(self.session.cache_bytes() as u64);
        if missing > 0 {
            memory::room(missing + WORKING_BYTES, "so long a conversation")?;
        }
        Ok(())
    }

    /// Processes tokens and returns the logits of what follows the last one.
    fn process(&mut self, tokens: &[TokenId]) -> Result<&mut [f32], Failure> {
        self.make_room(tokens.len())?;
        let logits = self.session.prefill(tokens)?;
        self.tokens.extend_from_slice(tokens);
        Ok(logits)
    }
}

#[wasm_bindgen]
impl Session {
    /// Begins an answer to `prompt`, the whole sequence; what the session has processed of it is kept. Returns how
    /// many tokens that are. `options` are `GenerateOptions` as JSON.
    ///
    /// # Errors
    /// `invalid`, `context_full`, `out_of_memory`: then nothing has changed.
    pub fn begin(&mut self, prompt: Vec<u32>, options: &str) -> Result<usize, Failure> {
        let options: GenerateOptions = options::parse(options)?;
        let capacity = self.session.capacity();
        if prompt.len() > capacity {
            let tokens = prompt.len();
            return Err(edgellm::Error::ContextFull { tokens, position: 0, capacity }.into());
        }
        let common = prompt.iter().zip(&self.tokens).take_while(|(new, old)| new == old).count();
        // At least one token has to be processed for there to be logits.
        let common = common.min(prompt.len().saturating_sub(1));
        let generation = Generation::new(self.session.model(), &prompt, common, &options)?;
        self.session.truncate(common);
        self.tokens.truncate(common);
        self.make_room(prompt.len() - common)?;
        self.generation = Some(generation);
        Ok(common)
    }

    /// Processes up to `count` more tokens of the prompt; how many are left.
    ///
    /// # Errors
    /// `out_of_memory`; `invalid` if no answer was begun.
    pub fn advance(&mut self, count: usize) -> Result<usize, Failure> {
        let mut generation = self.taken()?;
        let piece = generation.piece(count);
        if !piece.is_empty() {
            let logits = self.process(&piece)?;
            if generation.pending() == 0 {
                generation.set_logits(logits);
            }
        }
        let left = generation.pending();
        self.generation = Some(generation);
        Ok(left)
    }

    /// Chooses the next token, once the whole prompt is processed; nothing after the end.
    ///
    /// # Errors
    /// As [`Session::advance`].
    #[wasm_bindgen(js_name = next)]
    pub fn step(&mut self) -> Result<Option<Step>, Failure> {
        let mut generation = self.taken()?;
        if let Some(last) = generation.last() {
            generation.set_logits(self.process(&[last])?);
        }
        let full = self.session.position() >= self.session.capacity();
        let step = generation.choose(full);
        self.generation = Some(generation);
        Ok(step)
    }

    /// Ends the answer where it stands. Text that was held back, because a stop text may have been coming, is lost.
    pub fn end(&mut self) {
        self.generation = None;
    }

    /// Appends tokens and gives the logits, (vocab_size), of what follows.
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

    /// The answer in the making, which whoever takes it puts back: an error ends it.
    fn taken(&mut self) -> Result<Generation, Failure> {
        self.generation.take().ok_or_else(|| Failure::invalid("there is no answer in the making"))
    }
}
