//! What every endpoint that runs a model needs: the model, tokenized and checked prompts, jobs.

use crate::answer::Tally;
use crate::api::fields::Fields;
use crate::api::number::Token;
use crate::api::prompts::Prompts;
use crate::api::sampling::Sampling;
use crate::body::{Body, Text};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::grammar::{Constraint, Shape};
use crate::memory::Held;
use crate::preparation::Interrupt;
use crate::random::random;
use crate::registry::Loaded;
use crate::scheduler::{Choice, Event, Job, Task};
use crate::server::Server;
use edgellm::TokenId;
use edgellm::generate::{self, Decoder, StopStrings};
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm::tokenizer::{EncodeLimit, TokenizerError};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A request to a model that is loaded.
pub(super) struct Context {
    pub(super) server: Server,
    pub(super) caller: Caller,
    pub(super) model: Arc<Loaded>,
    arrived: Instant,
    interrupt: Interrupt,
    /// The body's place in memory, for whatever was made of it.
    _held: Arc<Held>,
}

/// How far a preparation came.
enum Progress<T> {
    Ready(Context, T),
    /// The model of this name has to be loaded first, which takes longer than a slot may be occupied.
    Unloaded(Option<String>),
}

impl Context {
    /// Reads the request in `body`, and prepares it by `work` for the model that it names (without a name, the first), both on
    /// a preparation slot. Returns what `work` returns.
    ///
    /// # Errors
    /// If the request is wrong, there is no slot for it or no such model, or the model cannot be loaded now; those of `work`.
    pub(super) async fn prepare<R: DeserializeOwned + Fields, T: Send + 'static>(
        server: Server,
        caller: Caller,
        body: Body,
        work: impl Fn(&Self, R, &Text<'_>) -> Result<T, ApiError> + Send + Sync + 'static,
    ) -> Result<(Self, T), ApiError> {
        let arrived = Instant::now();
        let deadline = arrived + server.options().request_timeout;
        let large = body.may_be_large();
        let (slots, client) = (server.clone(), caller.client);
        let found = |model| Ok(Some(model));
        let step = Arc::new(move |model: Option<Arc<Loaded>>, interrupt: Interrupt| {
            let text = body.text()?;
            interrupt.check()?;
            let request: R = text.read()?;
            let Some(model) = model.map_or_else(|| server.models().in_memory(request.model()), found)? else {
                return Ok(Progress::Unloaded(request.model().map(str::to_string)));
            };
            let (server, caller, _held) = (server.clone(), caller.clone(), body.held());
            let context = Context { server, caller, model, arrived, interrupt, _held };
            let value = work(&context, request, &text)?;
            Ok::<_, ApiError>(Progress::Ready(context, value))
        });
        let mut model = None;
        loop {
            let (step, loaded) = (Arc::clone(&step), model.take());
            let step = move |interrupt| {
                let progress = step(loaded, interrupt);
                if large {
                    edgellm_memory::trim();
                }
                progress
            };
            match slots.preparations().run(&client, deadline, step).await?? {
                Progress::Ready(context, value) => return Ok((context, value)),
                Progress::Unloaded(name) => model = Some(slots.models().get(name.as_deref()).await?),
            }
        }
    }

    /// Counts the sequences of the request towards the client's rate limit.
    ///
    /// # Errors
    /// 429 if they are too many now, and 400 if they always will be.
    pub(super) fn count(&self, sequences: usize) -> Result<(), ApiError> {
        let rates = self.server.rates();
        rates.map_or(Ok(()), |rates| rates.check_sequences(&self.caller.client, sequences))
    }

    /// Goes on with a preparation, or says why not.
    ///
    /// # Errors
    /// If the client has left, or the time is over.
    pub(super) fn go_on(&self) -> Result<(), ApiError> {
        Ok(self.interrupt.check()?)
    }

    /// Tokenizes a text, the value of `field`, that must fit into the context.
    ///
    /// # Errors
    /// 400 if it does not, or cannot be tokenized.
    pub(super) fn encode(
        &self,
        field: &str,
        text: &str,
        add_special: bool,
    ) -> Result<Vec<TokenId>, ApiError> {
        self.check_bytes(field, text.len())?;
        let tokenizer = self.model.model.tokenizer();
        self.tokens(field, |limit| tokenizer.encode_within(text, add_special, limit))
    }

    /// Tokenizes a text, the value of `field`, by `encode`, up to the tokens that fit into the context.
    ///
    /// # Errors
    /// 400 if there are more, or the text cannot be tokenized.
    pub(super) fn tokens(
        &self,
        field: &str,
        encode: impl FnOnce(&EncodeLimit<'_>) -> Result<Vec<TokenId>, TokenizerError>,
    ) -> Result<Vec<TokenId>, ApiError> {
        // The answer needs one, too.
        let most = self.model.context.saturating_sub(1);
        self.up_to(most, field, encode).map_err(|error| match error {
            Some(error) => error,
            None => self.too_long(field, &format!("more than {most} tokens")),
        })
    }

    /// Tokenizes a text, the value of `field`, by `encode`; `None` is the error if it has more than `most` tokens.
    pub(super) fn up_to(
        &self,
        most: usize,
        field: &str,
        encode: impl FnOnce(&EncodeLimit<'_>) -> Result<Vec<TokenId>, TokenizerError>,
    ) -> Result<Vec<TokenId>, Option<ApiError>> {
        self.go_on().map_err(Some)?;
        let raised = || self.interrupt.raised();
        encode(&EncodeLimit::default().tokens(most).interrupt(&raised)).map_err(|error| match error {
            TokenizerError::TooManyTokens { .. } => None,
            TokenizerError::Interrupted => Some(self.interrupt.reason().into()),
            error => Some(ApiError::field(field, error.to_string())),
        })
    }

    /// Refuses a text of so many bytes, the value of `field`, if no tokens of the context have as many: it is not even split.
    ///
    /// # Errors
    /// 400.
    pub(super) fn check_bytes(&self, field: &str, bytes: usize) -> Result<(), ApiError> {
        let most = self.model.context.saturating_mul(self.model.model.tokenizer().longest_token());
        if bytes <= most { Ok(()) } else { Err(self.too_long(field, &format!("more than {most} bytes"))) }
    }

    /// 400: the value of `field` does not fit into the context, since it has `length`.
    fn too_long(&self, field: &str, length: &str) -> ApiError {
        let context = self.model.context;
        let message = format!(
            "{field} has {length}, but the context of {context} tokens must hold the prompt and the answer: shorten it"
        );
        ApiError::field(field, message).code("context_length_exceeded")
    }

    /// Tokenizes and checks prompts, the value of `field`, of which there may be `most`.
    ///
    /// # Errors
    /// 400 if there are more, or one does not suit the model.
    pub(super) fn prompts(
        &self,
        field: &str,
        prompts: &Prompts,
        most: usize,
    ) -> Result<Vec<Vec<TokenId>>, ApiError> {
        let count = prompts.count();
        if !(1..=most).contains(&count) {
            let message = format!("{field} must hold 1 to {most} texts, but holds {count}");
            return Err(ApiError::field(field, message));
        }
        let ids = |tokens: &[Token]| tokens.iter().map(|token| token.0).collect();
        let prompts = match prompts {
            Prompts::Text(text) => vec![self.encode(field, text, true)?],
            Prompts::Texts(texts) => {
                texts.iter().map(|text| self.encode(field, text, true)).collect::<Result<_, _>>()?
            }
            Prompts::Tokens(tokens) => vec![ids(tokens)],
            Prompts::ManyTokens(many) => many.iter().map(|tokens| ids(tokens)).collect(),
        };
        prompts.iter().try_for_each(|prompt| self.check_prompt(field, prompt))?;
        Ok(prompts)
    }

    /// Checks that the model can process a prompt, the value of `field`.
    ///
    /// # Errors
    /// 400 if it is empty, too long, or has unknown tokens.
    pub(super) fn check_prompt(&self, field: &str, prompt: &[TokenId]) -> Result<(), ApiError> {
        let (vocab_size, context) = (self.model.model.config().vocab_size, self.model.context);
        if prompt.is_empty() {
            let message =
                format!("{field} has no tokens: it is empty, or the vocabulary has none of its characters");
            return Err(ApiError::field(field, message));
        }
        if let Some(token) = prompt.iter().find(|&&token| token as usize >= vocab_size) {
            let message = format!("{field}: token {token} is not in the vocabulary of {vocab_size}");
            return Err(ApiError::field(field, message));
        }
        if prompt.len() >= context {
            return Err(self.too_long(field, &format!("{} tokens", prompt.len())));
        }
        Ok(())
    }

    /// The constraint that `shape` asks for, if any. It comes from the value of `field`.
    ///
    /// # Errors
    /// 400 if the schema cannot be followed.
    pub(super) fn constraint(&self, field: &str, shape: &Shape) -> Result<Option<Constraint>, ApiError> {
        self.go_on()?;
        let refused = |error| ApiError::field(field, format!("{field}: {error}"));
        self.model.constraint(shape).map_err(refused)
    }

    /// Logs a prompt, if the server is to log prompts.
    pub(super) fn log_prompt(&self, prompt: &[TokenId]) {
        if self.server.options().log_prompts {
            let prompt = self.model.model.tokenizer().decode(prompt, false);
            tracing::info!(request_id = self.caller.request.0, prompt, "prompt");
        }
    }

    /// The job that generates the choices of `prompt`, which are numbered from `first` on.
    ///
    /// # Errors
    /// 400 if a sampling option is out of range.
    pub(super) fn job(
        &self,
        prompt: Vec<TokenId>,
        first: usize,
        sampling: &Sampling,
        constraint: Option<Constraint>,
        logprobs: Option<usize>,
        events: &UnboundedSender<Event>,
    ) -> Result<Job, ApiError> {
        let options = self.server.options();
        let room = self.model.context - prompt.len();
        let (wanted, field) = sampling.limit();
        if let (Some(wanted), Some(most)) = (wanted, options.max_tokens)
            && wanted > most
        {
            return Err(ApiError::field(field, format!("{field} must be at most {most} on this server")));
        }
        let max_tokens = wanted.or(options.max_tokens).unwrap_or(room).min(room);
        sampling.suits(self.model.model.config().vocab_size)?;
        // Prepared once, and shared by all choices.
        let shared = sampling.options(sampling.seed.map_or_else(random, i64::cast_unsigned));
        let stops = StopStrings::new(sampling.stops());
        let stops = stops.map_err(|error| ApiError::field("stop", error.to_string()))?;
        let choice = |index: usize| {
            let options = SamplerOptions { seed: shared.seed.wrapping_add(index as u64), ..shared.clone() };
            let sampler =
                Sampler::new(options).map_err(|error| ApiError::field(error.option, error.to_string()))?;
            let constraint =
                constraint.clone().map(|grammar| Box::new(grammar) as Box<dyn generate::Constraint>);
            let mut decoder = Decoder::new(&self.model.model, sampler)
                .max_tokens(max_tokens)
                .room(room)
                .ignore_eos(sampling.ignore_eos.unwrap_or(false))
                .stop_strings(stops.clone())
                .constraint(constraint)
                .logprobs(logprobs);
            decoder.accept_prompt(&prompt);
            Ok(Choice { index: first + index, max_tokens, decoder })
        };
        let choices = (0..sampling.choices()).map(choice).collect::<Result<_, ApiError>>()?;
        Ok(self.task(prompt, Task::Generate(choices), events))
    }

    /// A job with the deadline of this request.
    pub(super) fn task(&self, prompt: Vec<TokenId>, task: Task, events: &UnboundedSender<Event>) -> Job {
        let deadline = self.arrived + self.server.options().request_timeout;
        let (client, events) = (self.caller.client, events.clone());
        Job { client, prompt, task, scores: None, begun: false, arrived: self.arrived, deadline, events }
    }

    /// A channel for the events of this request's jobs.
    pub(super) fn events() -> (UnboundedSender<Event>, UnboundedReceiver<Event>) {
        // Holds at most the answer: the scheduler never waits for a slow client, whose connection has its own limits.
        unbounded_channel()
    }

    /// Starts to count tokens for `jobs`, of `open` choices or embeddings in all.
    pub(super) fn tally(&self, jobs: &[Job], open: usize) -> Tally {
        let prompt_tokens = jobs.iter().map(|job| job.prompt.len()).sum();
        Tally::new(self.caller.request.clone(), Arc::clone(&self.model), prompt_tokens, open)
    }
}
