//! What every endpoint that runs a model needs: the model, tokenized and checked prompts, jobs.

use crate::answer::Tally;
use crate::api::number::Token;
use crate::api::prompts::Prompts;
use crate::api::sampling::Sampling;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::grammar::{Constraint, Shape};
use crate::random::random;
use crate::registry::Loaded;
use crate::scheduler::{Choice, Event, Job, Task};
use crate::server::Server;
use edgellm::TokenId;
use edgellm::generate::{self, Decoder, StopStrings};
use edgellm::sampler::{Sampler, SamplerOptions};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A request to a model that is loaded.
pub(super) struct Context {
    pub(super) server: Server,
    pub(super) caller: Caller,
    pub(super) model: Arc<Loaded>,
    arrived: Instant,
}

impl Context {
    /// Loads the model that the request names, if it is not loaded; without a name, the first.
    ///
    /// # Errors
    /// If there is no such model, or it cannot be loaded now.
    pub(super) async fn new(server: Server, caller: Caller, model: Option<&str>) -> Result<Self, ApiError> {
        let arrived = Instant::now();
        let model = server.models().get(model).await?;
        Ok(Context { server, caller, model, arrived })
    }

    /// Counts the sequences of the request towards the client's rate limit.
    ///
    /// # Errors
    /// 429 if they are too many now, and 400 if they always will be.
    pub(super) fn count(&self, sequences: usize) -> Result<(), ApiError> {
        let rates = self.server.rates();
        rates.map_or(Ok(()), |rates| rates.check_sequences(&self.caller.client, sequences))
    }

    /// Does work that takes a while, such as tokenizing a long text, on the blocking pool.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(Self, T), ApiError> {
        let result = tokio::task::spawn_blocking(move || work(&self).map(|value| (self, value))).await;
        result.unwrap_or_else(|_| Err(ApiError::internal("the request could not be prepared")))
    }

    /// Tokenizes a text, the value of `field`.
    ///
    /// # Errors
    /// 400 if it cannot be tokenized.
    pub(super) fn encode(
        &self,
        field: &str,
        text: &str,
        add_special: bool,
    ) -> Result<Vec<TokenId>, ApiError> {
        let tokens = self.model.model.tokenizer().encode(text, add_special);
        tokens.map_err(|error| ApiError::field(field, error.to_string()))
    }

    /// Tokenizes and checks prompts, the value of `field`, of which there may be `most`.
    ///
    /// # Errors
    /// 400 if there are more, or one does not suit the model.
    pub(super) fn prompts(
        &self,
        field: &str,
        prompts: Prompts,
        most: usize,
    ) -> Result<Vec<Vec<TokenId>>, ApiError> {
        let count = prompts.count();
        if !(1..=most).contains(&count) {
            let message = format!("{field} must hold 1 to {most} texts, but holds {count}");
            return Err(ApiError::field(field, message));
        }
        let ids = |tokens: Vec<Token>| tokens.into_iter().map(|token| token.0).collect();
        let prompts = match prompts {
            Prompts::Text(text) => vec![self.encode(field, &text, true)?],
            Prompts::Texts(texts) => {
                texts.iter().map(|text| self.encode(field, text, true)).collect::<Result<_, _>>()?
            }
            Prompts::Tokens(tokens) => vec![ids(tokens)],
            Prompts::ManyTokens(many) => many.into_iter().map(ids).collect(),
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
            let length = prompt.len();
            let message = format!(
                "{field} has {length} tokens, but the context of {context} must hold the prompt and the answer: shorten it"
            );
            return Err(ApiError::field(field, message).code("context_length_exceeded"));
        }
        Ok(())
    }

    /// The constraint that `shape` asks for, if any. It comes from the value of `field`.
    ///
    /// # Errors
    /// 400 if the schema cannot be followed.
    pub(super) fn constraint(&self, field: &str, shape: &Shape) -> Result<Option<Constraint>, ApiError> {
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
