//! The worker for the plugin.

use crate::args::{RunArgs, TargetArgs};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::{mmap, plugin};
use edgellm::TokenId;
use edgellm::format::ModelFile;
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm_benchmark::hash::Hash;
use edgellm_benchmark::native::{answer_lines, variant, weight_bytes_per_token};
use edgellm_benchmark::protocol::{Done, Hello, Ready, Request};
use edgellm_plugin_host::{GenerateOptions, Prompt, Session};
use std::io;
use std::path::Path;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// Serves requests until the input ends. A sandbox has one thread; with more, the worker is absent.
pub(super) fn serve(
    args: &TargetArgs,
    mut run: RunArgs,
    path: &Path,
    context: usize,
    cache: &Cache,
    failed: impl FnOnce(io::Error) -> Error,
) -> Result<()> {
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    if run.threads.take().is_some_and(|threads| threads > 1) {
        let absent = Hello::Absent("a sandbox has one thread".to_string());
        return answer_lines(input, output, &absent, |_| Err(String::new())).map_err(failed);
    }
    let file = mmap::map(path)?;
    let invalid = |source| Error::Model { path: path.to_path_buf(), source: edgellm::Error::from(source) };
    let file = ModelFile::parse_metadata(file.as_ref()).map_err(invalid)?;
    let start = Instant::now();
    let plugin = plugin::load(args, &run, cache)?;
    let model = plugin::open(&plugin, path, 0)?;
    let load_ms = milliseconds(start);
    let ready = Ready {
        engine: format!("EdgeLLM {} in wasmtime", env!("CARGO_PKG_VERSION")),
        variant: variant(file.metadata()),
        kernel: model.info().kernels.clone(),
        threads: 1,
        load_ms,
        weight_bytes_per_token: Some(weight_bytes_per_token(file.metadata())),
    };
    let mut session = model.session(plugin::session_options(run.session_options(Some(context))))?;
    answer_lines(input, output, &Hello::Ready(ready), |request| {
        let done = if request.hash { hashed(&mut session, request) } else { timed(&mut session, request) };
        done.map_err(|error| error.to_string())
    })
    .map_err(failed)
}

fn timed(session: &mut Session, request: &Request) -> std::result::Result<Done, Failure> {
    session.truncate(0)?;
    session.reserve(tokens(request.prompt.len() + request.generate))?;
    let options = GenerateOptions {
        sampler: plugin::sampler_options(&SamplerOptions::greedy()),
        max_tokens: Some(tokens(request.generate)),
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let (mut token_ids, mut inter_token_ms, mut ttft_ms) = (Vec::new(), Vec::new(), 0.0);
    let start = Instant::now();
    let mut last = start;
    let mut generation = session.generate(&Prompt::Tokens(request.prompt.clone()), &options)?;
    for token in &mut generation {
        token_ids.push(token?.id);
        if token_ids.len() == 1 {
            ttft_ms = milliseconds(start);
        } else {
            inter_token_ms.push(milliseconds(last));
        }
        last = Instant::now();
    }
    let prefill_ms = Some(generation.timings()?.prefill_ns as f64 / 1e6);
    Ok(Done { token_ids, text: None, prefill_ms, ttft_ms, inter_token_ms, logits_hash: None })
}

/// Token by token, so that the logits can be hashed.
fn hashed(session: &mut Session, request: &Request) -> std::result::Result<Done, Failure> {
    session.truncate(0)?;
    let mut sampler = Sampler::new(SamplerOptions::greedy())?;
    let mut hash = Hash::default();
    let mut token_ids: Vec<TokenId> = Vec::with_capacity(request.generate);
    let mut logits = session.prefill(&request.prompt)?;
    loop {
        hash.logits(&logits);
        let token = sampler.sample(&logits);
        token_ids.push(token);
        if token_ids.len() >= request.generate {
            break;
        }
        logits = session.decode(token)?;
    }
    Ok(Done { token_ids, logits_hash: Some(hash.hex()), ..Done::default() })
}

fn tokens(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
