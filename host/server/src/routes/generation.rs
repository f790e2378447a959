//! What chat and plain completions have in common: admission, jobs, and the response.

use super::context::Context;
use crate::answer::{AnswerBuilder, EventStream, Format};
use crate::api::sampling::{Sampling, check};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::grammar::Constraint;
use crate::scheduler::Job;
use crate::server::Server;
use axum::response::{IntoResponse, Response};
use edgellm::TokenId;

/// What an endpoint makes of its request, on the blocking pool.
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

/// Answers a request of `prompts` prompts to the model called `model` (the first, without a name).
///
/// # Errors
/// If the request is wrong or not admitted, or generation fails before the response begins.
pub(super) async fn answer<F: Format>(
    server: Server,
    caller: Caller,
    model: Option<&str>,
    prompts: usize,
    sampling: Sampling,
    prepare: impl FnOnce(&Context, &Sampling) -> Result<Prepared<F>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let most = server.options().max_choices;
    sampling.validate(most)?;
    let context = Context::new(server, caller, model).await?;
    context.count(prompts * sampling.choices())?;
    let (sender, events) = Context::events();
    let (stream, include_usage, user) = (sampling.stream(), sampling.include_usage(), sampling.user.clone());
    let (context, (jobs, format)) = context
        .work(move |context| {
            let Prepared { prompts, constraint, logprobs, scored, format } = prepare(context, &sampling)?;
            let n = sampling.choices();
            check("n", prompts.len() * n <= most, &format!("such that there are at most {most} answers"))?;
            let job = |(index, prompt): (usize, Vec<TokenId>)| {
                context.log_prompt(&prompt);
                let job = context.job(prompt, index * n, &sampling, constraint.clone(), logprobs, &sender)?;
                Ok(Job { scores: logprobs.filter(|_| scored), ..job })
            };
            let jobs = prompts.into_iter().enumerate().map(job).collect::<Result<Vec<_>, ApiError>>()?;
            Ok((jobs, format))
        })
        .await?;
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
