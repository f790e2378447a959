//! The native engine as a worker.

use crate::hash::Hash;
use crate::protocol::{Answer, Done, Hello, Ready, Request};
use edgellm::format::Metadata;
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm::{Model, Session, SessionOptions, TokenId};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Instant;

/// Serves `model`, which took `load_ms` to open, until `input` ends.
///
/// # Errors
/// If input or output fail. A failed request is answered with its error.
pub fn serve(
    model: &Model,
    options: SessionOptions,
    load_ms: f64,
    input: impl BufRead,
    output: impl Write,
) -> io::Result<()> {
    let ready = Ready {
        engine: format!("EdgeLLM {}", env!("CARGO_PKG_VERSION")),
        variant: variant(model.metadata()),
        kernel: model.compute().kernels().name().to_string(),
        threads: model.compute().threads(),
        load_ms,
        weight_bytes_per_token: Some(weight_bytes_per_token(model.metadata())),
    };
    let mut session = Session::new(model, options);
    answer_lines(input, output, &Hello::Ready(ready), |request| match &mut session {
        Ok(session) => run(session, request).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

/// Writes `hello`, then answers every line of `input`, whatever runs the prompts.
///
/// # Errors
/// If input or output fail.
pub fn answer_lines(
    input: impl BufRead,
    mut output: impl Write,
    hello: &Hello,
    mut run: impl FnMut(&Request) -> Result<Done, String>,
) -> io::Result<()> {
    let mut say = |line: String| -> io::Result<()> {
        output.write_all(line.as_bytes())?;
        output.write_all(b"\n")?;
        output.flush()
    };
    say(serde_json::to_string(hello)?)?;
    for line in input.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => run(&request).map_or_else(Answer::Failed, Answer::Done),
            Err(error) => Answer::Failed(format!("this is not a request: {error}")),
        };
        say(serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

fn run(session: &mut Session, request: &Request) -> Result<Done, Box<dyn Error>> {
    session.reset();
    session.reserve(request.prompt.len() + request.generate)?;
    let mut sampler = Sampler::new(SamplerOptions::greedy())?;
    let mut hash = request.hash.then(Hash::default);
    let mut choose = |logits: &[f32]| -> TokenId {
        if let Some(hash) = &mut hash {
            hash.logits(logits);
        }
        sampler.sample(logits)
    };
    let mut token_ids = Vec::with_capacity(request.generate);
    let mut inter_token_ms = Vec::with_capacity(request.generate);
    let start = Instant::now();
    let logits = session.prefill(&request.prompt)?;
    let prefill_ms = milliseconds(start);
    token_ids.push(choose(logits));
    let ttft_ms = milliseconds(start);
    while token_ids.len() < request.generate {
        let start = Instant::now();
        let logits = session.decode(token_ids[token_ids.len() - 1])?;
        token_ids.push(choose(logits));
        inter_token_ms.push(milliseconds(start));
    }
    let logits_hash = hash.map(Hash::hex);
    Ok(Done { token_ids, text: None, prefill_ms: Some(prefill_ms), ttft_ms, inter_token_ms, logits_hash })
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The format of the layers and, if it is not the default, of the head.
pub fn variant(metadata: &Metadata) -> String {
    let quantization = &metadata.quantization;
    match quantization.head.as_str() {
        "int8" => quantization.format.clone(),
        head => format!("{}, {head} head", quantization.format),
    }
}

/// The bytes of all weights, without a separate embedding, of which only one row is read.
pub fn weight_bytes_per_token(metadata: &Metadata) -> u64 {
    let skipped = |name: &str| !metadata.config.tie_word_embeddings && name == "model.embed_tokens.weight";
    let tensors = metadata.tensors.iter().filter(|tensor| !skipped(&tensor.name));
    tensors.map(|tensor| tensor.section.length).sum()
}
