//! What chat and plain completions have in common: admission, jobs, and the response.

use super::context::Context;
use crate::answer::{AnswerBuilder, EventStream, Format};
use crate::api::fields::Fields;
use crate::api::sampling::{Sampling, check};
use crate::body::{Body, Text};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::grammar::Constraint;
use crate::scheduler::Job;
use crate::server::Server;
use axum::response::{IntoResponse, Response};
use edgellm::TokenId;
use serde::de::DeserializeOwned;

/// A request for generated text.
pub(super) trait Request: DeserializeOwned + Fields {
    /// The fields that all of them share.
    fn sampling(&self) -> &Sampling;

    /// How many prompts it has.
    fn prompts(&self) -> usize;
}

/// What an endpoint makes of its request, on a preparation slot.
pub(super) struct Prepared<F> {
    /// Tokenized and checked; each gets as many choices as the request's `n`.
    pub(super) prompts: Vec<Vec<TokenId>>,
    pub(super) constraint: Option<Constraint>,
    /// Log probabilities of the chosen token and of this many of the most likely ones.
    pub(super) logprobs: Option<usize>,
    /// Log probabilities of the prompts' tokens, too.
    pub(super) scored: bool,
    /// The JSON of the answer.
    pub(super) format: F,
}

/// Answers the request in `body`.
///
/// # Errors
/// If the request is wrong or not admitted, or generation fails before the response begins.
pub(super) async fn answer<R: Request, F: Format>(
    server: Server,
    caller: Caller,
    body: Body,
    prepare: impl Fn(&Context, &R, &Text<'_>) -> Result<Prepared<F>, ApiError> + Send + Sync + 'static,
) -> Result<Response, ApiError> {
    let (sender, events) = Context::events();
    let work = move |context: &Context, request: R, text: &Text<'_>| {
        let (sampling, most) = (request.sampling(), context.server.options().max_choices);
        sampling.validate(most)?;
        context.count(request.prompts() * sampling.choices())?;
        let Prepared { prompts, constraint, logprobs, scored, format } = prepare(context, &request, text)?;
        let n = sampling.choices();
        check("n", prompts.len() * n <= most, &format!("such that there are at most {most} answers"))?;
        let job = |(index, prompt): (usize, Vec<TokenId>)| {
            context.go_on()?;
            context.log_prompt(&prompt);
            let job = context.job(prompt, index * n, sampling, constraint.clone(), logprobs, &sender)?;
            Ok(Job { scores: logprobs.filter(|_| scored), ..job })
        };
        let jobs = prompts.into_iter().enumerate().map(job).collect::<Result<Vec<_>, ApiError>>()?;
        // For the log, which has no use for a long one.
        let user = sampling.user.as_ref().map(|user| user.chars().take(256).collect::<String>());
        Ok((jobs, format, user, sampling.stream(), sampling.include_usage()))
    };
    let (context, (jobs, format, user, stream, include_usage)) =
        Context::prepare(server, caller, body, work).await?;
    let mut tally = context.tally(&jobs, format.choices());
    tally.user = user;
    tally.text = context.server.options().log_prompts.then(String::new);
    let answer = AnswerBuilder::new(tally, format);
    context.model.scheduler.submit(jobs)?;
    if stream {
        return EventStream::begin(answer, events, include_usage).await;
    }
    Ok(axum::Json(answer.collect(events).await?).into_response())
}
