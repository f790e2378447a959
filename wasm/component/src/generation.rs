//! The decode loop on a shared session, with timings.

use crate::Error;
use crate::system::now_ns;
use edgellm::generate::{Decoder, FinishReason, Token};
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm::{Session, TokenId};
use std::cell::RefCell;
use std::rc::Rc;

/// What to generate.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// How to sample tokens.
    pub sampler: SamplerOptions,
    /// End after this many tokens; without it, when the session is full.
    pub max_tokens: Option<usize>,
    /// End before any of these strings.
    pub stop: Vec<String>,
    /// Go on after the model's end tokens.
    pub ignore_eos: bool,
    /// Return every token's log probability.
    pub logprobs: bool,
}

/// Token counts and times of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub generated_tokens: usize,
    /// Nanoseconds until the first token: prefill and sampling.
    pub prefill_ns: u64,
    /// Nanoseconds of the tokens after the first.
    pub decode_ns: u64,
}

/// Tokens, one at a time; unlike [`edgellm::generate::Generation`] it borrows nothing.
#[derive(Debug)]
pub struct Generation {
    session: Rc<RefCell<Session>>,
    decoder: Decoder,
    /// Where this generation left the session.
    position: usize,
    timings: Timings,
}

impl Timings {
    /// Prompt tokens per second; `None` if the clock did not advance.
    pub fn prefill_tokens_per_second(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prefill_ns)
    }

    /// Tokens per second after the first; `None` if there are none.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        rate(self.generated_tokens.saturating_sub(1), self.decode_ns)
    }
}

fn rate(tokens: usize, ns: u64) -> Option<f64> {
    (tokens > 0 && ns > 0).then(|| tokens as f64 / (ns as f64 / 1e9))
}

impl Generation {
    /// Processes `prompt`.
    ///
    /// # Errors
    /// If an option is out of range, or the engine refuses the prompt.
    pub fn start(
        session: Rc<RefCell<Session>>,
        prompt: &[TokenId],
        options: GenerateOptions,
    ) -> Result<Self, Error> {
        let sampler = Sampler::new(options.sampler)?;
        let mut borrowed = session.borrow_mut();
        let mut decoder = Decoder::new(borrowed.model(), sampler)
            .max_tokens(options.max_tokens.unwrap_or(usize::MAX))
            .stop(options.stop)?
            .ignore_eos(options.ignore_eos)
            .logprobs(options.logprobs.then_some(0));
        let room = borrowed.capacity() - borrowed.position();
        if let (Some(room), Some(max_tokens)) = (room.checked_sub(prompt.len()), options.max_tokens) {
            // All memory up front, so that decoding allocates none.
            borrowed.reserve(prompt.len() + max_tokens.min(room))?;
        }
        let start = now_ns();
        decoder.begin(borrowed.prefill(prompt)?);
        let prefill_ns = now_ns() - start;
        decoder.accept_prompt(prompt);
        let position = borrowed.position();
        let decoder = decoder.room(borrowed.capacity() - position);
        drop(borrowed);
        let timings = Timings { prompt_tokens: prompt.len(), prefill_ns, ..Timings::default() };
        Ok(Generation { session, decoder, position, timings })
    }

    /// The next token, or `None` at the end.
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
        let token = session.next_token(&mut self.decoder)?;
        self.position = session.position();
        let elapsed = now_ns() - start;
        let Timings { generated_tokens, prefill_ns, decode_ns, .. } = &mut self.timings;
        *(if *generated_tokens == 0 { prefill_ns } else { decode_ns }) += elapsed;
        *generated_tokens += 1;
        Ok(token)
    }

    /// Why it ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.decoder.finish_reason()
    }

    /// Token counts and times so far.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}
