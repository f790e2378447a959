//! Whole texts, one decoder layer at a time: calibration replaces a layer's weights before the next layer sees what they give.

use crate::TokenId;
use crate::cache::Cache;
use crate::error::Error;
use crate::forward::{Buffers, Precision, Span, begin, final_norm, layer, logits};
use crate::linear::LinearHooks;
use crate::model::Model;
use edgellm_kernels::page::CacheFormat;

/// Positions whose logits are held at a time: a vocabulary of 250,000 takes 32 MB.
const LOGITS: usize = 32;

/// The residual stream of some sequences between two decoder layers.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use edgellm::{Model, Precision, ResidualStream};
/// let model = Model::from_bytes(std::fs::read("model.tmac2.bin")?)?;
/// let mut stream = ResidualStream::new(&model, vec![vec![1, 2, 3], vec![4, 5]], Precision::High)?;
/// for layer in 0..model.config().num_hidden_layers {
///     stream.advance(&model, layer, &mut ());
/// }
/// stream.head_inputs(&model, |states| println!("{} hidden states", states.len() / model.config().hidden_size));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ResidualStream {
    sequences: Vec<Sequence>,
    precision: Precision,
    /// Of one sequence at a time.
    cache: Cache,
    buffers: Buffers,
}

#[derive(Debug)]
struct Sequence {
    tokens: Vec<TokenId>,
    /// (tokens, hidden_size)
    x: Vec<f32>,
}

impl ResidualStream {
    /// The embedded tokens of some sequences, each of which begins at position 0.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] if a sequence has no tokens, [`Error::Token`], or [`Error::Context`] if one is longer than the model
    /// supports.
    pub fn new(model: &Model, sequences: Vec<Vec<TokenId>>, precision: Precision) -> Result<Self, Error> {
        let (config, mut longest) = (model.config(), 1);
        let (vocab_size, max) = (config.vocab_size, config.max_position_embeddings);
        for tokens in &sequences {
            longest = longest.max(tokens.len());
            if tokens.is_empty() {
                return Err(Error::EmptyPrompt);
            }
            if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
                return Err(Error::Token { token, vocab_size });
            }
        }
        if longest > max {
            return Err(Error::Context { requested: longest, max });
        }
        let mut cache = Cache::new(config, CacheFormat::default(), longest);
        cache.reserve(longest);
        let (mut buffers, wanted) = (Buffers::default(), 0);
        let embed = |tokens: Vec<TokenId>| {
            begin(model, &mut buffers, &mut [Span { cache: &mut cache, tokens: &tokens, wanted }]);
            cache.truncate(0);
            Sequence { x: std::mem::take(&mut buffers.x), tokens }
        };
        let sequences = sequences.into_iter().map(embed).collect();
        Ok(ResidualStream { sequences, precision, cache, buffers })
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.tokens.len()).sum()
    }

    /// Runs decoder layer `index` for its hooks alone: the stream stays where it is. The hooks see the rows of a whole sequence
    /// at once.
    ///
    /// # Panics
    /// If the model has no such layer.
    pub fn observe(&mut self, model: &Model, index: usize, hooks: &mut impl LinearHooks) {
        self.run(model, index, hooks, false);
    }

    /// Runs decoder layer `index` and keeps what it adds to the stream.
    ///
    /// # Panics
    /// If the model has no such layer.
    pub fn advance(&mut self, model: &Model, index: usize, hooks: &mut impl LinearHooks) {
        self.run(model, index, hooks, true);
    }

    /// Passes the normalized hidden states, (tokens, hidden_size), of each sequence to `each`: what the head multiplies after the
    /// last layer.
    pub fn head_inputs(&self, model: &Model, mut each: impl FnMut(&[f32])) {
        let mut states = Vec::new();
        for Sequence { tokens, x } in &self.sequences {
            let rows = tokens.len();
            final_norm(model, [(rows, rows)], x, &mut states);
            each(&states);
        }
    }

    /// Passes the logits, (positions, vocab_size), of those positions of each sequence that are `wanted` to `each`, after the last
    /// layer and a few positions at a time.
    pub fn logits(&mut self, model: &Model, wanted: impl Fn(usize) -> bool, mut each: impl FnMut(&[f32])) {
        let (hidden, mut states) = (model.config().hidden_size, Vec::new());
        for Sequence { tokens, x } in &self.sequences {
            let rows = tokens.len();
            final_norm(model, [(rows, rows)], x, &mut states);
            let rows = states.chunks_exact(hidden).enumerate().filter(|(row, _)| wanted(*row));
            let rows: Vec<&[f32]> = rows.map(|(_, state)| state).collect();
            for rows in rows.chunks(LOGITS) {
                each(logits(model, self.precision, &mut self.buffers, &rows.concat()));
            }
        }
    }

    /// Puts this stream where `other` is: trials of other weights go on from there.
    ///
    /// # Panics
    /// If the two have other sequences.
    pub fn copy_from(&mut self, other: &ResidualStream) {
        assert_eq!(self.sequences.len(), other.sequences.len(), "streams of other sequences");
        for (to, from) in self.sequences.iter_mut().zip(&other.sequences) {
            assert_eq!(to.tokens, from.tokens, "streams of other sequences");
            to.x.clone_from(&from.x);
        }
    }

    fn run(&mut self, model: &Model, index: usize, hooks: &mut impl LinearHooks, keep: bool) {
        let ResidualStream { sequences, precision, cache, buffers } = self;
        for Sequence { tokens, x } in sequences {
            let mut span = Span { cache, tokens, wanted: 0 };
            buffers.attention.prepare(model, std::slice::from_ref(&span));
            span.cache.begin(tokens.len());
            buffers.x.clone_from(x);
            layer(model, *precision, buffers, std::slice::from_mut(&mut span), hooks, index);
            if keep {
                std::mem::swap(x, &mut buffers.x);
            }
            // Recurrent layers begin the next sequence without a state.
            cache.advance(tokens);
            cache.truncate(0);
        }
    }
}
