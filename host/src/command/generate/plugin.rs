//! `edgellm generate --target plugin`: the model runs in a sandbox.

use super::{Args, Report, Timings};
use crate::cache::Cache;
use crate::error::Result;
use crate::model::{self, Choice};
use crate::output::Answer;
use crate::{plugin, system};
use edgellm::TokenId;
use edgellm::sampler::Sampler;
use edgellm_plugin_host::{FinishReason, GenerateOptions, Message, Model, Prompt};
use std::time::Instant;

/// Generates, and shows text as it arrives.
pub(super) fn generate(args: &Args, text: &str, choice: &Choice, cache: &Cache) -> Result<Report> {
    // Checks the options before anything is loaded.
    let sampler = Sampler::new(args.sampling.options())?;
    let plugin = plugin::load(&args.target, &args.run, cache)?;
    let model = plugin::open(&plugin, &choice.prepare(cache)?, 0)?;
    model::remember(&choice.model, cache);
    let prompt = prompt_tokens(args, &model, &choice.model, text)?;
    let mut session = model.session(plugin::session_options(args.run.session_options(args.context)))?;
    let options = GenerateOptions {
        sampler: plugin::sampler_options(sampler.options()),
        max_tokens: Some(u32::try_from(args.max_tokens).unwrap_or(u32::MAX)),
        stop: args.stop.clone(),
        ..GenerateOptions::default()
    };
    let start = Instant::now();
    let mut generation = session.generate(&Prompt::Tokens(prompt.clone()), &options)?;
    let (mut answer, mut token_ids, mut first) = (String::new(), Vec::new(), None);
    let mut output = Answer::new(args.raw_output);
    for token in &mut generation {
        let token = token?;
        first.get_or_insert_with(|| start.elapsed());
        args.show(&mut output, &token.text)?;
        answer.push_str(&token.text);
        token_ids.push(token.id);
    }
    let timings = generation.timings()?;
    let rate = |tokens: usize, ns: u64| tokens as f64 / (ns as f64 / 1e9).max(1e-9);
    let finish_reason = match generation.finish_reason()? {
        Some(FinishReason::Length) => "length",
        Some(FinishReason::ContextFull) => "context_full",
        Some(FinishReason::Stop) | None => "stop",
    };
    Ok(Report {
        timings: Timings {
            ttft_ms: first.unwrap_or_default().as_secs_f64() * 1e3,
            prefill_tokens_per_second: rate(prompt.len(), timings.prefill_ns),
            decode_tokens_per_second: (token_ids.len() > 1)
                .then(|| rate(token_ids.len() - 1, timings.decode_ns)),
        },
        text: answer,
        token_ids,
        prompt_token_ids: prompt,
        finish_reason,
        peak_rss_bytes: system::peak_rss_bytes(),
        target: "plugin",
        kernel: model.info().kernels.clone(),
        threads: 1,
    })
}

fn prompt_tokens(args: &Args, model: &Model, name: &str, text: &str) -> Result<Vec<TokenId>> {
    if args.raw || !model.info().has_chat_template {
        if args.chat || args.system.is_some() {
            return Err(super::no_template(name));
        }
        return Ok(model.tokenize(text, true)?);
    }
    let message = |message: &edgellm::chat::Message| Message {
        role: message.role().to_string(),
        content: message.content().to_string(),
    };
    let messages: Vec<Message> = args.messages(text).iter().map(message).collect();
    Ok(model.tokenize_chat(&messages, args.content.parse_special_in_content)?)
}
