//! `parity MODEL [COMPONENT]...`: 64 greedy tokens of a model and the hash of all their logits, natively and by each
//! component, one line of JSON each. `scripts/plugin/check.py` compares them with each other and with other hosts'.

use edgellm::testing::{HASH_START, logits_hash};
use edgellm_plugin_host::{Limits, Plugin, SessionOptions, Source};
use std::path::{Path, PathBuf};
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

const PROMPT: &str = "The capital of France is";
const TOKENS: usize = 64;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let model = PathBuf::from(arguments.next().ok_or("usage: parity MODEL [COMPONENT]...")?);
    native(&model)?;
    for component in arguments {
        plugin(&model, &component)?;
    }
    Ok(())
}

/// The index of the largest, the first of equals.
fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

/// The tokens, and the hash of the logits of the prompt and of each token.
fn run(mut step: impl FnMut(Option<u32>) -> Result<Vec<f32>, Error>) -> Result<(Vec<u32>, u64), Error> {
    let mut logits = step(None)?;
    let mut hash = logits_hash(HASH_START, &logits);
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        let token = greedy(&logits);
        tokens.push(token);
        logits = step(Some(token))?;
        hash = logits_hash(hash, &logits);
    }
    Ok((tokens, hash))
}

fn native(path: &Path) -> Result<(), Error> {
    let model = edgellm::Model::from_bytes(std::fs::read(path)?)?;
    let mut session = edgellm::Session::new(&model, edgellm::SessionOptions::default())?;
    let prompt = model.tokenizer().encode(PROMPT, true)?;
    let (tokens, hash) = run(|token| {
        Ok(match token {
            None => session.prefill(&prompt)?.to_vec(),
            Some(token) => session.decode(token)?.to_vec(),
        })
    })?;
    println!(
        r#"{{"host": "native", "kernels": "{}", "tokens": {tokens:?}, "hash": "{hash:016x}"}}"#,
        model.compute().kernels().name()
    );
    Ok(())
}

fn plugin(path: &Path, component: &str) -> Result<(), Error> {
    let code = std::env::temp_dir().join("edgellm-parity-code");
    drop(Plugin::load(component, Some(&code))?);
    // The second start, with the code in the cache, is the one that counts.
    let start = Instant::now();
    let plugin = Plugin::load(component, Some(&code))?;
    let start_ms = start.elapsed().as_secs_f64() * 1e3;
    let limits = Limits { folder: path.parent().map(Path::to_path_buf), ..Limits::default() };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("the model has no name")?;
    let open = Instant::now();
    let model = plugin.open(Source::File(name), &limits)?;
    let open_ms = open.elapsed().as_secs_f64() * 1e3;
    let mut session = model.session(SessionOptions::default())?;
    let prompt = model.tokenize(PROMPT, true)?;
    let (tokens, hash) = run(|token| {
        Ok(match token {
            None => session.prefill(&prompt)?,
            Some(token) => session.decode(token)?,
        })
    })?;
    let beside = model.memory_bytes() - model.info().file_bytes;
    println!(
        r#"{{"host": "rust", "kernels": "{}", "tokens": {tokens:?}, "hash": "{hash:016x}", "start_ms": {start_ms:.1}, "open_ms": {open_ms:.0}, "memory_beside_the_file": {beside}}}"#,
        model.info().kernels
    );
    Ok(())
}
