//! The token loop, on a session that is shared with whoever else holds it.

use crate::Error;
use crate::system::now_ns;
use edgellm::generate::{Continuation, FinishReason, Token};
use edgellm::sampler::{Sampler, SamplerOptions, log_probability};
use edgellm::{Session, TokenId};
use std::cell::RefCell;
use std::rc::Rc;

/// What to generate.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampler: SamplerOptions,
    /// At most so many tokens; without it, until the session is full.
    pub max_tokens: Option<usize>,
    /// Ends before any of these texts.
    pub stop: Vec<String>,
    /// Goes on after the model's end tokens.
    pub ignore_eos: bool,
    /// Gives every token's log probability.
    pub logprobs: bool,
}

/// What a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens chosen.
    pub generated_tokens: usize,
    /// Nanoseconds of the prompt and of choosing the first token.
    pub prefill_ns: u64,
    /// Nanoseconds of the tokens after the first.
    pub decode_ns: u64,
}

/// Tokens, one at a time; unlike [`edgellm::generate::Generation`] it borrows nothing.
#[derive(Debug)]
pub struct Generation {
    session: Rc<RefCell<Session>>,
    sampler: Sampler,
    continuation: Continuation,
    logprobs: bool,
    /// After the prompt; taken by the first token.
    first: Option<Vec<f32>>,
    /// Where this generation left the session.
    position: usize,
    timings: Timings,
}

impl Timings {
    /// Tokens of the prompt a second; none if the clock did not move.
    pub fn prefill_tokens_per_second(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prefill_ns)
    }

    /// Tokens after the first a second; none if there are none.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        rate(self.generated_tokens.saturating_sub(1), self.decode_ns)
    }
}

fn rate(tokens: usize, ns: u64) -> Option<f64> {
    (tokens > 0 && ns > 0).then(|| tokens as f64 / (ns as f64 / 1e9))
}

impl Generation {
    /// Processes `prompt` and gets ready to choose.
    ///
    /// # Errors
    /// If an option is out of range, or the engine refuses the prompt.
    pub fn start(
        session: Rc<RefCell<Session>>,
        prompt: &[TokenId],
        options: GenerateOptions,
    ) -> Result<Self, Error> {
        let mut sampler = Sampler::new(options.sampler)?;
        let mut borrowed = session.borrow_mut();
        let continuation = Continuation::new(borrowed.model())
            .max_tokens(options.max_tokens.unwrap_or(usize::MAX))
            .stop(options.stop)?
            .ignore_eos(options.ignore_eos);
        let room = borrowed.capacity() - borrowed.position();
        if let (Some(room), Some(max_tokens)) = (room.checked_sub(prompt.len()), options.max_tokens) {
            // All memory before the first token, so that none is asked for between tokens.
            borrowed.reserve(prompt.len() + max_tokens.min(room))?;
        }
        let start = now_ns();
        let first = Some(borrowed.prefill(prompt)?.to_vec());
        let prefill_ns = now_ns() - start;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let position = borrowed.position();
        drop(borrowed);
        let timings = Timings { prompt_tokens: prompt.len(), prefill_ns, ..Timings::default() };
        Ok(Generation {
            session,
            sampler,
            continuation,
            logprobs: options.logprobs,
            first,
            position,
            timings,
        })
    }

    /// The next token, or none at the end.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the session was used otherwise meanwhile.
    pub fn next_token(&mut self) -> Result<Option<Token>, Error> {
        if self.finish_reason().is_some() {
            return Ok(None);
        }
        let start = now_ns();
        let mut session = self.session.borrow_mut();
        let found = session.position();
        if found != self.position {
            return Err(Error::Interrupted { expected: self.position, found });
        }
        let first;
        let logits = match (self.first.take(), self.continuation.token_ids().last()) {
            (None, Some(&last)) => &*session.decode(last)?,
            (logits, _) => {
                first = logits.unwrap_or_default();
                &first
            }
        };
        let id = self.sampler.sample(logits);
        let logprob = if self.logprobs { log_probability(logits, id) } else { None };
        self.position = session.position();
        let text = self.continuation.push(id, self.position >= session.capacity());
        let elapsed = now_ns() - start;
        let Timings { generated_tokens, prefill_ns, decode_ns, .. } = &mut self.timings;
        *(if *generated_tokens == 0 { prefill_ns } else { decode_ns }) += elapsed;
        *generated_tokens += 1;
        Ok(Some(Token { id, text, logprob }))
    }

    /// Why it ended; none while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.continuation.finish_reason()
    }

    /// What it took so far.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}
