//! The commands.

use crate::cli::{GenerateArgs, ModelArgs};
use edgellm::chat::Message;
use edgellm::generate::FinishReason;
use edgellm::{Model, Session, SessionOptions, TokenId};
use edgellm_component::{GenerateOptions, Generation, Timings, chat_prompt, open_file, tokens};
use serde_json::json;
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

/// Why a command failed, for a line on the standard error.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Writes the answer as it is generated.
pub(crate) fn generate(args: &GenerateArgs, out: &mut impl Write) -> Result<(), Error> {
    let model = Model::from_bytes(open_file(&args.model.model)?)?;
    let prompt = if args.raw || model.metadata().chat_template.is_none() && args.system.is_none() {
        tokens(&model, &args.prompt, true)?
    } else {
        let system = args.system.iter().map(|system| Message::new("system", system));
        let messages: Vec<Message> = system.chain([Message::new("user", &args.prompt)]).collect();
        chat_prompt(&model, &messages, args.parse_special_in_content)?
    };
    let options = SessionOptions { context_length: args.context, ..SessionOptions::default() };
    let session = Rc::new(RefCell::new(Session::new(&model, options)?));
    let mut generation = Generation::start(
        session,
        &prompt,
        GenerateOptions {
            sampler: args.sampler(),
            max_tokens: Some(args.max_tokens),
            stop: args.stop.clone(),
            ..GenerateOptions::default()
        },
    )?;
    let (mut text, mut token_ids) = (String::new(), Vec::new());
    while let Some(token) = generation.next_token()? {
        token_ids.push(token.id);
        if !args.json && !token.text.is_empty() {
            out.write_all(token.text.as_bytes())?;
            out.flush()?;
        }
        text.push_str(&token.text);
    }
    if args.json {
        let reason = generation.finish_reason();
        let report = report(&model, &text, &token_ids, reason, generation.timings());
        writeln!(out, "{report}")?;
    } else if !text.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(())
}

fn report(
    model: &Model,
    text: &str,
    token_ids: &[TokenId],
    reason: Option<FinishReason>,
    timings: Timings,
) -> serde_json::Value {
    json!({
        "text": text,
        "token_ids": token_ids,
        "finish_reason": reason.map(FinishReason::as_str),
        "timings": {
            "prefill_tokens_per_second": timings.prefill_tokens_per_second(),
            "decode_tokens_per_second": timings.decode_tokens_per_second(),
        },
        "kernel": model.compute().kernels().name(),
    })
}

/// Writes a file's metadata as JSON.
pub(crate) fn info(args: &ModelArgs, out: &mut impl Write) -> Result<(), Error> {
    let model = Model::from_bytes(open_file(&args.model)?)?;
    let (metadata, config) = (model.metadata(), model.config());
    let info = json!({
        "name": metadata.name,
        "format": metadata.quantization.format,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "file_bytes": model.file_bytes(),
        "kernel": model.compute().kernels().name(),
    });
    writeln!(out, "{info:#}")?;
    Ok(())
}
