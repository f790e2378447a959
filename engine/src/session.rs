//! A session: one sequence of tokens on a model.

use crate::TokenId;
use crate::cache::Cache;
use crate::error::Error;
use crate::forward::{Buffers, Precision, Run, forward, hidden_states};
use crate::model::Model;
use edgellm_kernels::page::CacheFormat;

/// Tokens that prefill processes at once: enough to unpack weights rarely, few enough to stay in cache.
const PREFILL_CHUNK: usize = 64;

/// Settings of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionOptions {
    /// Positions the session may hold; the model's max_position_embeddings where not given.
    pub context_length: Option<usize>,
    /// How finely activations are rounded.
    pub precision: Precision,
    /// What keys and values are kept in; docs/quantization.md has what 8 bits cost.
    pub kv_cache: CacheFormat,
}

/// One sequence of tokens on a model: its key-value cache, and the buffers to extend it.
///
/// [`Session::prefill`] and [`Session::decode`] give logits; [`Session::generate`] gives text.
#[derive(Debug)]
pub struct Session {
    model: Model,
    precision: Precision,
    capacity: usize,
    cache: Cache,
    buffers: Buffers,
}

impl Session {
    /// An empty session.
    ///
    /// # Errors
    /// [`Error::Context`] if more context is wanted than the model was made for.
    pub fn new(model: &Model, options: SessionOptions) -> Result<Self, Error> {
        let max = model.config().max_position_embeddings;
        let capacity = options.context_length.unwrap_or(max);
        if !(1..=max).contains(&capacity) {
            return Err(Error::Context { requested: capacity, max });
        }
        Ok(Session {
            model: model.clone(),
            precision: options.precision,
            capacity,
            cache: Cache::new(model.config(), options.kv_cache),
            buffers: Buffers::default(),
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens processed so far.
    pub fn position(&self) -> usize {
        self.cache.len()
    }

    /// Tokens the session may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of the key-value cache.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Takes memory for `tokens` more tokens now, so that processing them takes none.
    ///
    /// # Errors
    /// [`Error::ContextFull`] if they do not fit.
    pub fn reserve(&mut self, tokens: usize) -> Result<(), Error> {
        let position = self.position();
        if tokens > self.capacity - position {
            return Err(Error::ContextFull { tokens, position, capacity: self.capacity });
        }
        self.cache.reserve(position + tokens);
        Ok(())
    }

    /// Forgets all tokens from `position` on.
    pub fn truncate(&mut self, position: usize) {
        self.cache.truncate(position);
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.truncate(0);
    }

    /// Processes `tokens` and returns the logits, (vocab_size), of what follows the last one.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::Token`] or [`Error::ContextFull`]; then nothing was processed.
    pub fn prefill(&mut self, tokens: &[TokenId]) -> Result<&mut [f32], Error> {
        self.check(tokens)?;
        let last = (tokens.len() - 1) / PREFILL_CHUNK * PREFILL_CHUNK;
        for chunk in tokens[..last].chunks(PREFILL_CHUNK) {
            self.run(chunk, false);
        }
        Ok(self.run(&tokens[last..], false))
    }

    /// Processes `tokens` and hands the logits, (vocab_size), after each one to `each`, with its index.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn prefill_each(
        &mut self,
        tokens: &[TokenId],
        mut each: impl FnMut(usize, &mut [f32]),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        let vocab_size = self.model.config().vocab_size;
        // Logits of 16 tokens at a time: those of a whole chunk would take more memory than the model.
        for (index, chunk) in tokens.chunks(16).enumerate() {
            let logits = self.run(chunk, true);
            for (offset, logits) in logits.chunks_exact_mut(vocab_size).enumerate() {
                each(16 * index + offset, logits);
            }
        }
        Ok(())
    }

    /// Processes `tokens` and hands the normalized hidden state, (hidden_size), of each to `each`: what an
    /// embedding of a text is made of.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn prefill_hidden(&mut self, tokens: &[TokenId], mut each: impl FnMut(&[f32])) -> Result<(), Error> {
        self.check(tokens)?;
        let hidden_size = self.model.config().hidden_size;
        for chunk in tokens.chunks(PREFILL_CHUNK) {
            let run = Own { cache: &mut self.cache, tokens: chunk, wanted: chunk.len() };
            let states = hidden_states(&self.model, self.precision, &mut self.buffers, &mut [run]);
            states.chunks_exact(hidden_size).for_each(&mut each);
        }
        Ok(())
    }

    /// A session that begins with the first `positions` tokens of this one (all, if it has fewer), copied: two
    /// texts with a common beginning need to process it once.
    pub fn fork(&self, positions: usize) -> Self {
        Session {
            model: self.model.clone(),
            precision: self.precision,
            capacity: self.capacity,
            cache: self.cache.prefix(positions),
            buffers: Buffers::default(),
        }
    }

    /// Processes one token and returns the logits, (vocab_size), of what follows. After the first call, and
    /// with memory reserved, it allocates nothing.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn decode(&mut self, token: TokenId) -> Result<&mut [f32], Error> {
        self.check(&[token])?;
        Ok(self.run(&[token], false))
    }

    pub(crate) fn check(&mut self, tokens: &[TokenId]) -> Result<(), Error> {
        let vocab_size = self.model.config().vocab_size;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(Error::Token { token, vocab_size });
        }
        self.reserve(tokens.len())
    }

    fn run(&mut self, tokens: &[TokenId], all_logits: bool) -> &mut [f32] {
        let wanted = if all_logits { tokens.len() } else { 1 };
        let run = Own { cache: &mut self.cache, tokens, wanted };
        forward(&self.model, self.precision, &mut self.buffers, &mut [run])
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn cache_mut(&mut self) -> &mut Cache {
        &mut self.cache
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }
}

/// Tokens of a session that is alone.
struct Own<'a> {
    cache: &'a mut Cache,
    tokens: &'a [TokenId],
    wanted: usize,
}

impl Run for Own<'_> {
    fn cache(&self) -> &Cache {
        self.cache
    }

    fn cache_mut(&mut self) -> &mut Cache {
        self.cache
    }

    fn tokens(&self) -> &[TokenId] {
        self.tokens
    }

    fn wanted(&self) -> usize {
        self.wanted
    }
}
