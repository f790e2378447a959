//! Several sessions in one pass over the weights.

use crate::TokenId;
use crate::cache::Cache;
use crate::error::Error;
use crate::forward::{Buffers, Run, forward};
use crate::session::Session;

/// Buffers to extend several sessions of one model at once: the weights are read once for all of them, which
/// is what decoding spends its time on. Every session gets the same bits as alone (law 2).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use edgellm::{Batch, BatchRun, Model, Session, SessionOptions};
/// let model = Model::from_bytes(std::fs::read("model.tmac2.bin")?)?;
/// let mut a = Session::new(&model, SessionOptions::default())?;
/// let mut b = Session::new(&model, SessionOptions::default())?;
/// let mut batch = Batch::default();
/// // A chunk of one's prompt beside one token of the other.
/// let mut runs = [BatchRun::new(&mut a, &[1, 2, 3]), BatchRun::new(&mut b, &[4])];
/// let logits = batch.run(&mut runs)?; // (2, vocab_size)
/// # let _ = logits; Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    buffers: Buffers,
}

/// A session and the tokens to extend it by.
#[derive(Debug)]
pub struct BatchRun<'a> {
    session: &'a mut Session,
    tokens: &'a [TokenId],
    wanted: usize,
}

impl<'a> BatchRun<'a> {
    /// `tokens` are to be appended to `session`.
    pub fn new(session: &'a mut Session, tokens: &'a [TokenId]) -> Self {
        BatchRun { session, tokens, wanted: 1 }
    }

    /// The same without logits, for a chunk of a prompt that goes on: it saves the head's work.
    pub fn without_logits(session: &'a mut Session, tokens: &'a [TokenId]) -> Self {
        BatchRun { session, tokens, wanted: 0 }
    }
}

impl Run for BatchRun<'_> {
    fn cache(&self) -> &Cache {
        self.session.cache()
    }

    fn cache_mut(&mut self) -> &mut Cache {
        self.session.cache_mut()
    }

    fn tokens(&self) -> &[TokenId] {
        self.tokens
    }

    fn wanted(&self) -> usize {
        self.wanted
    }
}

impl Batch {
    /// Processes the runs together and returns the logits after each one's last token, (runs that want
    /// logits, vocab_size).
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] without runs or if one has no tokens, [`Error::Token`], [`Error::ContextFull`],
    /// or [`Error::Mixed`] if the sessions differ in model or precision; then nothing was processed.
    pub fn run(&mut self, runs: &mut [BatchRun<'_>]) -> Result<&mut [f32], Error> {
        let Some(first) = runs.first() else { return Err(Error::EmptyPrompt) };
        let (model, precision) = (first.session.model().clone(), first.session.precision());
        for run in runs.iter_mut() {
            if !run.session.model().same(&model) || run.session.precision() != precision {
                return Err(Error::Mixed);
            }
            run.session.check(run.tokens)?;
        }
        Ok(forward(&model, precision, &mut self.buffers, runs))
    }
}
