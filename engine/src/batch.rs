//! Several sessions in one pass over the weights.

use crate::TokenId;
use crate::error::Error;
use crate::forward::{Buffers, Span, forward};
use crate::session::Session;

/// Buffers to extend several sessions of one model at once. The weights, whose reading takes most of the time of
/// decoding, are read once for all of them. Every session gets the same bits as alone (law 2).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use edgellm::{Batch, BatchRun, Model, Session, SessionOptions};
/// let model = Model::from_bytes(std::fs::read("model.tmac2.bin")?)?;
/// let mut a = Session::new(&model, SessionOptions::default())?;
/// let mut b = Session::new(&model, SessionOptions::default())?;
/// let mut batch = Batch::default();
/// // A chunk of a prompt that goes on, beside one token of another session.
/// let mut runs = [BatchRun::new(&mut a, &[1, 2, 3]).wanted(0), BatchRun::new(&mut b, &[4])];
/// let logits = batch.run(&mut runs)?; // (1, vocab_size)
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
    /// Appends `tokens` to `session`, and wants the logits after the last one.
    pub fn new(session: &'a mut Session, tokens: &'a [TokenId]) -> Self {
        BatchRun { session, tokens, wanted: 1 }
    }

    /// Wants the logits after each of the last `rows` tokens. 0, for a chunk of a prompt that goes on, saves the work
    /// of the head.
    #[must_use]
    pub fn wanted(self, rows: usize) -> Self {
        BatchRun { wanted: rows, ..self }
    }
}

impl Batch {
    /// Processes the runs together and returns the wanted logits, (sum of `wanted`, vocab_size), run after run.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] without runs or if one has no tokens, [`Error::Token`], [`Error::ContextFull`],
    /// [`Error::Wanted`], or [`Error::Mixed`] if the sessions differ in model or precision; then nothing was
    /// processed.
    pub fn run(&mut self, runs: &mut [BatchRun<'_>]) -> Result<&mut [f32], Error> {
        let Some(first) = runs.first() else { return Err(Error::EmptyPrompt) };
        let (model, precision) = (first.session.model().clone(), first.session.precision());
        for run in runs.iter_mut() {
            if !run.session.model().same(&model) || run.session.precision() != precision {
                return Err(Error::Mixed);
            }
            run.session.check(run.tokens, run.wanted)?;
        }
        for run in runs.iter_mut() {
            run.session.replay(&mut ());
        }
        let mut spans: Vec<Span<'_>> = runs
            .iter_mut()
            .map(|run| Span { cache: run.session.cache_mut(), tokens: run.tokens, wanted: run.wanted })
            .collect();
        Ok(forward(&model, precision, &mut self.buffers, &mut spans, &mut ()))
    }
}
