//! Decoding speed at several lengths of context, as one line of JSON:
//! `context MODEL.tmac2.bin [--threads N] [--kernel NAME] [--contexts 128,4096] [--rounds N] [--generate TOKENS]
//! [--kv-cache f16,int8]`.
//!
//! Each length and format of the KV cache has a session, filled once. A round decodes the same tokens in each and
//! truncates it again, so that whatever else the machine does affects all of them; figures are medians over the
//! rounds, and ratios are taken within a round.

use edgellm::testing::{HASH_START, logits_hash};
use edgellm::{CacheFormat, Compute, Model, Session, SessionOptions, available_kernels};
use edgellm_memory::{ModelBytes, Placement};
use std::fs::File;
use std::time::Instant;

#[global_allocator]
static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: usize| -> Result<usize, Failure> {
        Ok(text(name).map_or(Ok(default), |value| value.parse())?)
    };
    let path = args.first().ok_or("usage: context MODEL.tmac2.bin [--threads N] [--kernel NAME] ...")?;
    let kernels = available_kernels()
        .into_iter()
        .find(|kernels| text("--kernel").is_none_or(|name| kernels.name() == name))
        .ok_or("this CPU has no such kernel")?;
    let (threads, rounds) = (number("--threads", 1)?, number("--rounds", 5)?);
    let generate = number("--generate", 32)?;
    let contexts = text("--contexts").map_or("128,4096", String::as_str);
    let contexts: Vec<usize> = contexts.split(',').map(str::parse).collect::<Result<_, _>>()?;

    let model = Model::with_compute(
        ModelBytes::load(&File::open(path)?, Placement::default())?,
        Compute::new(kernels, threads),
    )?;
    let vocab = model.config().vocab_size as u32;
    let formats = [("f16", CacheFormat::F16), ("int8", CacheFormat::Int8)];
    let wanted = text("--kv-cache").map_or("f16,int8", String::as_str);
    let mut rows = Vec::new();
    for (context, (name, kv_cache)) in formats
        .into_iter()
        .filter(|(name, _)| wanted.split(',').any(|wanted| wanted == *name))
        .flat_map(|format| contexts.iter().map(move |&context| (context, format)))
    {
        let ids: Vec<u32> = (0..context as u32).map(|i| (100 + i * 37) % vocab).collect();
        let mut session = Session::new(&model, SessionOptions { kv_cache, ..SessionOptions::default() })?;
        session.reserve(context + generate)?;
        session.prefill(&ids)?;
        rows.push((context, name, session, Vec::new()));
    }
    let mut hash = HASH_START;
    for round in 0..=rounds {
        for (context, _, session, seconds) in &mut rows {
            session.truncate(*context);
            let start = Instant::now();
            for token in 0..generate as u32 {
                let logits = session.decode(token)?;
                if round == 0 {
                    hash = logits_hash(hash, logits);
                }
            }
            // The first round wakes threads and faults in pages.
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64() / generate as f64);
            }
        }
    }
    let first = rows.first().ok_or("caches: f16, int8")?.3.clone();
    let rows: Vec<String> = rows
        .into_iter()
        .map(|(context, name, session, seconds)| {
            let ratios = seconds.iter().zip(&first).map(|(a, b)| a / b).collect();
            let (spread, megabytes) = (spread(&seconds), session.cache_bytes() as f64 / 1e6);
            format!(
                r#"{{"kv_cache":"{name}","context":{context},"decode_tokens_per_second":{:.2},"spread":{spread:.3},"slower":{:.3},"cache_megabytes":{megabytes:.1}}}"#,
                1.0 / median(seconds),
                median(ratios),
            )
        })
        .collect();
    println!(
        r#"{{"kernel":"{}","threads":{threads},"rounds":{rounds_},"rows":[{}],"answer_hash":"{hash:016x}"}}"#,
        kernels.name(),
        rows.join(","),
        rounds_ = rounds,
    );
    Ok(())
}

/// The ratio of the slowest to the fastest.
fn spread(values: &[f64]) -> f64 {
    values.iter().fold(0.0f64, |a, &b| a.max(b)) / values.iter().fold(f64::INFINITY, |a, &b| a.min(b))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
