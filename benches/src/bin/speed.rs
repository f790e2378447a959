//! Prefill and decode speed of a model file, as one line of JSON:
//! `speed MODEL.tmac2.bin [--threads N] [--kernel NAME] [--prompt TOKENS] [--generate TOKENS] [--batch N]
//! [--precision fast|standard|high] [--context TOKENS] [--kv-cache f16|int8] [--weights auto|mapped|copied]`.
//!
//! Prefill runs from an empty session; decoding starts from one token, greedily, as `llama-bench` does, or after
//! `--context` tokens. The hash of the generated ids lets the caller check that all kernels and threads give the same answer.

use edgellm::testing::{HASH_START, logits_hash};
use edgellm::{
    Batch, BatchRun, CacheFormat, Compute, Model, Precision, Session, SessionOptions, available_kernels,
};
use edgellm_memory::{ModelBytes, Placement};
use std::fs::File;
use std::time::Instant;

#[global_allocator]
static MEMORY: edgellm_memory::HugePages = edgellm_memory::HugePages;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| -> Result<usize, Failure> {
        match args.iter().position(|arg| arg == name) {
            Some(at) => Ok(args.get(at + 1).ok_or("an option lacks its value")?.parse()?),
            None => Ok(default),
        }
    };
    let path = args.first().ok_or("usage: speed MODEL.tmac2.bin [--threads N] [--kernel NAME] ...")?;
    let name = args.iter().position(|arg| arg == "--kernel").and_then(|at| args.get(at + 1));
    let kernels = available_kernels()
        .into_iter()
        .find(|kernels| name.is_none_or(|name| kernels.name() == name))
        .ok_or("this CPU has no such kernel")?;
    let (threads, prompt) = (option("--threads", 1)?, option("--prompt", 512)?);
    let (generate, batch) = (option("--generate", 128)?, option("--batch", 1)?);

    let precision = match args.iter().position(|arg| arg == "--precision").and_then(|at| args.get(at + 1)) {
        None => Precision::default(),
        Some(name) => *[Precision::Fast, Precision::Standard, Precision::High]
            .iter()
            .find(|precision| format!("{precision:?}").eq_ignore_ascii_case(name))
            .ok_or("precisions: fast, standard, high")?,
    };
    let kv_cache = match args.iter().position(|arg| arg == "--kv-cache").and_then(|at| args.get(at + 1)) {
        None => CacheFormat::default(),
        Some(name) => *[CacheFormat::F16, CacheFormat::Int8]
            .iter()
            .find(|format| format!("{format:?}").eq_ignore_ascii_case(name))
            .ok_or("caches: f16, int8")?,
    };
    let context = option("--context", 0)?;
    let options = || SessionOptions { precision, kv_cache, ..SessionOptions::default() };

    let placement = match args.iter().position(|arg| arg == "--weights").and_then(|at| args.get(at + 1)) {
        None => Placement::default(),
        Some(name) => *[Placement::Auto, Placement::Mapped, Placement::Copied]
            .iter()
            .find(|placement| format!("{placement:?}").eq_ignore_ascii_case(name))
            .ok_or("placements: auto, mapped, copied")?,
    };
    let bytes = ModelBytes::load(&File::open(path)?, placement)?;
    let weights = bytes.to_string();
    let model = Model::with_compute(bytes, Compute::new(kernels, threads))?;
    let mut session = Session::new(&model, options())?;
    let vocab = model.config().vocab_size as u32;
    let ids: Vec<u32> = (0..prompt as u32).map(|i| (100 + i * 37) % vocab).collect();
    session.prefill(&ids[..ids.len().min(32)])?; // grow buffers, wake threads
    session.reset();
    let start = Instant::now();
    session.prefill(&ids)?;
    let prefill = prompt as f64 / start.elapsed().as_secs_f64();

    let mut sessions: Vec<Session> =
        (0..batch).map(|_| Session::new(&model, options())).collect::<Result<_, _>>()?;
    if context > 0 {
        let ids: Vec<u32> = (0..context as u32).map(|i| (100 + i * 37) % vocab).collect();
        for session in &mut sessions {
            session.prefill(&ids)?;
        }
    }
    let mut tokens = vec![1u32; batch];
    let mut all = Batch::default();
    let (mut hash, mut gaps) = (HASH_START, Vec::with_capacity(generate));
    for _ in 0..generate {
        let start = Instant::now();
        let inputs: Vec<[u32; 1]> = tokens.iter().map(|&token| [token]).collect();
        let mut runs: Vec<BatchRun<'_>> =
            sessions.iter_mut().zip(&inputs).map(|(session, input)| BatchRun::new(session, input)).collect();
        let logits = all.run(&mut runs)?;
        for (token, logits) in tokens.iter_mut().zip(logits.chunks_exact(vocab as usize)) {
            *token = argmax(logits);
        }
        gaps.push(start.elapsed().as_secs_f64());
        hash = logits_hash(hash, &[tokens[0] as f32]);
    }
    let decode = (generate * batch) as f64 / gaps.iter().sum::<f64>();
    gaps.sort_by(f64::total_cmp);
    let at = |q: f64| gaps[((gaps.len() - 1) as f64 * q).round() as usize] * 1e3;
    println!(
        r#"{{"kernel":"{}","threads":{threads},"batch":{batch},"context":{context},"kv_cache":"{kv_cache:?}","weights":"{weights}","file_bytes":{},"prefill_tokens_per_second":{prefill:.2},"decode_tokens_per_second":{decode:.2},"inter_token_ms":{{"p50":{:.3},"p95":{:.3},"p99":{:.3},"max":{:.3}}},"answer_hash":"{hash:016x}"}}"#,
        kernels.name(),
        model.file_bytes(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
    );
    Ok(())
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}
