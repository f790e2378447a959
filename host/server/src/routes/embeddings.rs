//! `POST /v1/embeddings`.

use super::context::Context;
use crate::api::embeddings::{
    Embedding, EmbeddingRequest, EmbeddingUsage, Embeddings, Encoding, MAX_INPUTS, Vector,
};
use crate::api::refusals::Refusals;
use crate::api::sampling::check;
use crate::body::{Body, Text};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::scheduler::{Event, Task};
use crate::server::Server;
use axum::Json;
use axum::extract::{Extension, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Embeds texts: the mean of the last hidden states of the tokens, normalized to length 1.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "OpenAI",
    request_body = EmbeddingRequest,
    responses(
        (status = 200, description = "The answer", body = Embeddings),
        Refusals
    ),
    security(("key" = []), ())
)]
pub(crate) async fn create(
    State(server): State<Server>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Embeddings>, ApiError> {
    let (sender, mut events) = Context::events();
    let work = move |context: &Context, request: EmbeddingRequest, _: &Text<'_>| {
        let size = context.model.model.config().hidden_size;
        let own = request.dimensions.is_none_or(|wanted| wanted as usize == size);
        check("dimensions", own, &format!("{size} with this model, or left out"))?;
        context.count(request.input.count())?;
        let texts = context.prompts("input", &request.input, MAX_INPUTS)?.into_iter().enumerate();
        let jobs = texts.map(|(index, text)| context.task(text, Task::Embed(index), &sender));
        Ok((jobs.collect::<Vec<_>>(), request.encoding_format.unwrap_or_default()))
    };
    let (context, (jobs, encoding)) = Context::prepare(server, caller, body, work).await?;
    let count = jobs.len();
    let mut tally = context.tally(&jobs, count);
    let prompt_tokens = tally.prompt_tokens;
    context.model.scheduler.submit(jobs)?;
    let mut data = Vec::with_capacity(count);
    while tally.open > 0 {
        let event = events.recv().await.ok_or_else(ApiError::scheduler_gone)?;
        tally.count(&event);
        match event {
            Event::Failed(failure) => return Err(failure.into()),
            Event::Embedded { index, mut mean } => {
                normalize(&mut mean);
                data.push(Embedding { object: "embedding", index, embedding: encode(mean, encoding) });
            }
            Event::Started { .. } | Event::Scored { .. } | Event::Token { .. } | Event::Finished { .. } => {}
        }
    }
    tally.outcome = "complete";
    data.sort_by_key(|embedding| embedding.index);
    let usage = EmbeddingUsage { prompt_tokens, total_tokens: prompt_tokens };
    Ok(Json(Embeddings { object: "list", data, model: context.model.id.clone(), usage }))
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}
