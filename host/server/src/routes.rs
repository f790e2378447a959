//! The endpoints.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod models;
pub(crate) mod tokens;

use crate::answer::RequestId;
use crate::api::Prompts;
use crate::api::number::Token;
use crate::api::sampling::Sampling;
use crate::error::ApiError;
use crate::grammar::Constraint;
use crate::registry::Loaded;
use crate::scheduler::{Choice, Event, Job, Task};
use crate::server::Server;
use edgellm::generate::{self, Decoder};
use edgellm::sampler::Sampler;
use edgellm::{Error, TokenId};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What every endpoint that runs a model knows.
pub(crate) struct Context {
    pub(crate) server: Server,
    pub(crate) request: RequestId,
    pub(crate) model: Arc<Loaded>,
    pub(crate) arrived: Instant,
}

impl Context {
    pub(crate) async fn new(
        server: Server,
        request: RequestId,
        model: Option<&str>,
    ) -> Result<Self, ApiError> {
        let arrived = Instant::now();
        let model = server.models().get(model).await?;
        Ok(Context { server, request, model, arrived })
    }

    /// Does work that takes a while, such as splitting a long text into tokens, where it holds up nobody.
    pub(crate) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(Self, T), ApiError> {
        let result = tokio::task::spawn_blocking(move || work(&self).map(|value| (self, value))).await;
        result.unwrap_or_else(|_| Err(ApiError::internal("the request could not be prepared")))
    }

    /// The tokens of a text.
    pub(crate) fn encode(
        &self,
        field: &str,
        text: &str,
        add_special: bool,
    ) -> Result<Vec<TokenId>, ApiError> {
        let tokens = self.model.model.tokenizer().encode(text, add_special);
        tokens.map_err(|error| ApiError::field(field, error.to_string()))
    }

    /// The tokens of each prompt, all checked.
    pub(crate) fn prompts(&self, field: &str, prompts: Prompts) -> Result<Vec<Vec<TokenId>>, ApiError> {
        let ids = |tokens: Vec<Token>| tokens.into_iter().map(|token| token.0).collect();
        let prompts = match prompts {
            Prompts::Text(text) => vec![self.encode(field, &text, true)?],
            Prompts::Texts(texts) => {
                self.check_count(field, texts.len())?;
                texts.iter().map(|text| self.encode(field, text, true)).collect::<Result<_, _>>()?
            }
            Prompts::Tokens(tokens) => vec![ids(tokens)],
            Prompts::ManyTokens(many) => many.into_iter().map(ids).collect(),
        };
        self.check_count(field, prompts.len())?;
        prompts.iter().try_for_each(|prompt| self.check_prompt(field, prompt))?;
        Ok(prompts)
    }

    fn check_count(&self, field: &str, count: usize) -> Result<(), ApiError> {
        let most = self.server.options().max_choices;
        if (1..=most).contains(&count) {
            return Ok(());
        }
        Err(ApiError::field(field, format!("{field} must hold 1 to {most} texts, and holds {count}")))
    }

    /// Refuses a prompt that the model cannot take.
    pub(crate) fn check_prompt(&self, field: &str, prompt: &[TokenId]) -> Result<(), ApiError> {
        let (vocab_size, context) = (self.model.model.config().vocab_size, self.model.context);
        if prompt.is_empty() {
            return Err(ApiError::field(field, format!("{field} must not be empty")));
        }
        if let Some(token) = prompt.iter().find(|&&token| token as usize >= vocab_size) {
            let message = format!("{field}: token {token} is not in the vocabulary of {vocab_size}");
            return Err(ApiError::field(field, message));
        }
        if prompt.len() >= context {
            let length = prompt.len();
            let message = format!(
                "{field} has {length} tokens, and the context of {context} must hold them and the answer: shorten it"
            );
            return Err(ApiError::field(field, message).code("context_length_exceeded"));
        }
        Ok(())
    }

    /// The job of continuing `prompt`, and its choices from index `first` on.
    pub(crate) fn job(
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
        let engine = |error: Error| ApiError::request(error.to_string());
        let seed = sampling.seed.map_or_else(crate::random, i64::cast_unsigned);
        let choice = |index: usize| {
            let sampler = Sampler::new(sampling.options(seed, index))
                .map_err(|error| ApiError::field(error.option, error.to_string()))?;
            let constraint =
                constraint.clone().map(|grammar| Box::new(grammar) as Box<dyn generate::Constraint>);
            let mut decoder = Decoder::new(&self.model.model, sampler)
                .max_tokens(max_tokens)
                .room(room)
                .stop(sampling.stops())
                .map_err(engine)?
                .constraint(constraint)
                .logprobs(logprobs);
            decoder.accept_prompt(&prompt);
            Ok(Choice { index: first + index, max_tokens, decoder })
        };
        let choices = (0..sampling.choices()).map(choice).collect::<Result<_, ApiError>>()?;
        Ok(self.task(prompt, Task::Generate(choices), events))
    }

    /// A job that ends when requests have to.
    pub(crate) fn task(&self, prompt: Vec<TokenId>, task: Task, events: &UnboundedSender<Event>) -> Job {
        let deadline = self.arrived + self.server.options().request_timeout;
        Job { prompt, task, arrived: self.arrived, deadline, events: events.clone() }
    }

    /// A way for events.
    pub(crate) fn events() -> (UnboundedSender<Event>, UnboundedReceiver<Event>) {
        // Holds at most the answer: nothing here waits for a slow client, and the connection's own limit ends it.
        unbounded_channel()
    }
}
