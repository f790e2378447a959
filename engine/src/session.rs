//! A session: one sequence of tokens on a model.

use crate::TokenId;
use crate::cache::{self, Cache};
use crate::config::ModelConfig;
use crate::error::Error;
use crate::forward::{Buffers, Precision, Span, forward, hidden_states};
use crate::linear::LinearHooks;
use crate::model::Model;
use edgellm_kernels::page::CacheFormat;

/// Tokens that prefill processes at once: enough to unpack weights rarely, few enough for the CPU's caches
/// (docs/experiments/prefill.md).
const PREFILL_CHUNK: usize = 64;

/// Settings of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionOptions {
    /// Positions that the session can hold; by default the model's max_position_embeddings.
    pub context_length: Option<usize>,
    /// How finely activations are rounded.
    pub precision: Precision,
    /// How keys and values are stored; docs/quantization.md has the cost of 8 bits.
    pub kv_cache: CacheFormat,
}

impl SessionOptions {
    /// Bytes that the KV cache and the states of recurrent layers take in a session with memory for `positions`: what
    /// [`Session::cache_bytes`] says then.
    pub fn cache_bytes(&self, config: &ModelConfig, positions: usize) -> u64 {
        cache::cache_bytes(config, self.kv_cache, positions)
    }
}

/// One sequence of tokens on a model: its KV cache, and the buffers to extend it.
///
/// [`Session::prefill`], [`Session::decode`] and [`Session::extend`] return logits; [`Session::generate`] generates
/// text.
#[derive(Debug)]
pub struct Session {
    model: Model,
    precision: Precision,
    cache: Cache,
    buffers: Buffers,
}

impl Session {
    /// An empty session.
    ///
    /// # Errors
    /// [`Error::Context`] if the context is longer than the model supports.
    pub fn new(model: &Model, options: SessionOptions) -> Result<Self, Error> {
        let max = model.config().max_position_embeddings;
        let capacity = options.context_length.unwrap_or(max);
        if !(1..=max).contains(&capacity) {
            return Err(Error::Context { requested: capacity, max });
        }
        Ok(Session {
            model: model.clone(),
            precision: options.precision,
            cache: Cache::new(model.config(), options.kv_cache, capacity),
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

    /// Tokens that the session can hold.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Bytes of the KV cache and of the states of recurrent layers.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Allocates memory for `tokens` more tokens now, so that processing them allocates none.
    ///
    /// # Errors
    /// [`Error::ContextFull`] if they do not fit.
    pub fn reserve(&mut self, tokens: usize) -> Result<(), Error> {
        let (position, capacity) = (self.position(), self.capacity());
        if tokens > capacity - position {
            return Err(Error::ContextFull { tokens, position, capacity });
        }
        self.cache.reserve(position + tokens);
        Ok(())
    }

    /// Tokens that will be processed again with the next ones. Models with recurrent layers go back to a snapshot of their
    /// state when a session is cut short or forked, at most 1,024 tokens before the position.
    pub fn pending(&self) -> usize {
        self.cache.pending()
    }

    /// Forgets all tokens from `position` on.
    pub fn truncate(&mut self, position: usize) {
        self.cache.truncate(position);
    }

    /// Forgets all tokens.
    pub fn reset(&mut self) {
        self.truncate(0);
    }

    /// Processes `tokens` and returns the logits, (vocab_size), after the last one.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::Token`] or [`Error::ContextFull`]; then nothing was processed.
    pub fn prefill(&mut self, tokens: &[TokenId]) -> Result<&mut [f32], Error> {
        self.extend(tokens, 1)
    }

    /// Processes one token and returns the logits, (vocab_size), after it. After the first call, and with memory
    /// reserved, it allocates nothing.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn decode(&mut self, token: TokenId) -> Result<&mut [f32], Error> {
        self.extend(&[token], 1)
    }

    /// Processes `tokens` and returns the logits after each of the last `wanted` ones, (wanted, vocab_size).
    ///
    /// # Errors
    /// As [`Session::prefill`], and [`Error::Wanted`] if more rows are wanted than there are tokens.
    pub fn extend(&mut self, tokens: &[TokenId], wanted: usize) -> Result<&mut [f32], Error> {
        self.extend_with(tokens, wanted, &mut ())
    }

    /// As [`Session::extend`], with hooks into the linear layers: calibration and adapters. A long input is processed
    /// in chunks, and the hooks are called for each chunk.
    ///
    /// # Errors
    /// As [`Session::extend`].
    pub fn extend_with(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        hooks: &mut impl LinearHooks,
    ) -> Result<&mut [f32], Error> {
        self.check(tokens, wanted)?;
        self.replay(hooks);
        // The last chunk holds all wanted rows.
        let last = ((tokens.len() - 1) / PREFILL_CHUNK * PREFILL_CHUNK).min(tokens.len() - wanted);
        for chunk in tokens[..last].chunks(PREFILL_CHUNK) {
            self.run(chunk, 0, hooks);
        }
        Ok(self.run(&tokens[last..], wanted, hooks))
    }

    /// Processes `tokens` and passes the logits, (vocab_size), after each one to `each`, with its index.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn prefill_each(
        &mut self,
        tokens: &[TokenId],
        mut each: impl FnMut(usize, &mut [f32]),
    ) -> Result<(), Error> {
        self.check(tokens, 0)?;
        self.replay(&mut ());
        let vocab_size = self.model.config().vocab_size;
        // Logits of 16 tokens at a time: those of a whole chunk would take more memory than the model.
        for (index, chunk) in tokens.chunks(16).enumerate() {
            let logits = self.run(chunk, chunk.len(), &mut ());
            for (offset, logits) in logits.chunks_exact_mut(vocab_size).enumerate() {
                each(16 * index + offset, logits);
            }
        }
        Ok(())
    }

    /// Processes `tokens` and passes the normalized hidden state, (hidden_size), of each to `each`: embeddings of
    /// texts are computed from them.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn prefill_hidden(&mut self, tokens: &[TokenId], mut each: impl FnMut(&[f32])) -> Result<(), Error> {
        self.check(tokens, 0)?;
        self.replay(&mut ());
        let hidden_size = self.model.config().hidden_size;
        for chunk in tokens.chunks(PREFILL_CHUNK) {
            let mut spans = [Span { cache: &mut self.cache, tokens: chunk, wanted: chunk.len() }];
            let states = hidden_states(&self.model, self.precision, &mut self.buffers, &mut spans, &mut ());
            states.chunks_exact(hidden_size).for_each(&mut each);
        }
        Ok(())
    }

    /// A session that begins with a copy of the first `positions` tokens of this one (all, if it has fewer): texts
    /// with a common prefix need to process it only once.
    pub fn fork(&self, positions: usize) -> Self {
        Session {
            model: self.model.clone(),
            precision: self.precision,
            cache: self.cache.prefix(positions),
            buffers: Buffers::default(),
        }
    }

    /// Rejects tokens that cannot be processed; otherwise allocates memory for them.
    pub(crate) fn check(&mut self, tokens: &[TokenId], wanted: usize) -> Result<(), Error> {
        let vocab_size = self.model.config().vocab_size;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if wanted > tokens.len() {
            return Err(Error::Wanted { wanted, tokens: tokens.len() });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(Error::Token { token, vocab_size });
        }
        self.reserve(tokens.len())
    }

    /// Processes the [`pending`](Self::pending) tokens.
    pub(crate) fn replay(&mut self, hooks: &mut impl LinearHooks) {
        let tokens = self.cache.replay();
        for chunk in tokens.chunks(PREFILL_CHUNK) {
            self.run(chunk, 0, hooks);
        }
    }

    fn run(&mut self, tokens: &[TokenId], wanted: usize, hooks: &mut impl LinearHooks) -> &mut [f32] {
        let mut spans = [Span { cache: &mut self.cache, tokens, wanted }];
        forward(&self.model, self.precision, &mut self.buffers, &mut spans, hooks)
    }

    pub(crate) fn cache_mut(&mut self) -> &mut Cache {
        &mut self.cache
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }
}
