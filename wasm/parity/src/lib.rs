//! Laws 1 and 2 on every target: the exactness tests of the kernels, and hashes that must not depend on target, kernels
//! or number of threads.
//!
//! `scripts/check_parity.py` runs this crate natively (the `native` example), for aarch64 under qemu, and as a
//! wasm module under wasmtime, and compares the [`Line`]s. A line that only one of them prints is an error too.

use edgellm::chat::{ChatTemplate, Message};
use edgellm::kernels::{Kernels, Pool};
use edgellm::testing::{Family, HASH_START, logits_hash, recipes, seeded_model, templates};
use edgellm::{CacheFormat, Compute, Error, Model, Precision, Session, SessionOptions, TokenId};
use std::fmt;

#[cfg(target_arch = "wasm32")]
pub mod exports;
#[cfg(target_arch = "wasm32")]
pub mod speed;

/// A result, with the kernels and threads that computed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Name of the computation, one word.
    pub what: String,
    /// Hash of the result.
    pub hash: u64,
    /// Name of the kernels.
    pub kernels: &'static str,
    /// Number of threads.
    pub threads: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:016x} {} {}", self.what, self.hash, self.kernels, self.threads)
    }
}

/// Runs the exactness tests of one instance of the kernels.
///
/// # Panics
/// If one fails.
pub fn check_kernels(kernels: Kernels) -> Line {
    let hash = edgellm::kernels::testing::check(kernels, &Pool::new());
    Line { what: "float-kernels".to_string(), hash, kernels: kernels.name(), threads: 1 }
}

/// Hashes of the logits of small seeded models: one for each format, in every precision, and with a cache in 8 bits after a
/// prompt of more than one segment of attention; one for each other family, after that prompt.
///
/// # Errors
/// If the engine refuses a model.
pub fn seeded_models(compute: &Compute) -> Result<Vec<Line>, Error> {
    let prompt: Vec<TokenId> = (0..70).collect();
    let long_prompt: Vec<TokenId> = (0..260).map(|i| i * 7 % 256).collect();
    let mut lines = Vec::new();
    for (index, recipe) in recipes().into_iter().enumerate() {
        let file = seeded_model(recipe, index as u64).expect("a writer into memory does not fail");
        let model = Model::with_compute(file, compute.clone())?;
        // Families differ in what surrounds the products.
        let is_format = matches!(recipe.family, Family::Llama | Family::Qwen2);
        let precisions: &[Precision] =
            if is_format { &[Precision::Fast, Precision::Standard, Precision::High] } else { &[] };
        for &precision in precisions {
            let hash = greedy_hash(&model, SessionOptions { precision, ..Default::default() }, &prompt, 16)?;
            let name = format!("seeded-{index}-{precision:?}").to_lowercase();
            lines.push(line(name, hash, compute));
        }
        for kv_cache in [CacheFormat::F16, CacheFormat::Int8].into_iter().take(if is_format { 2 } else { 1 })
        {
            let options = SessionOptions { kv_cache, ..Default::default() };
            let hash = greedy_hash(&model, options, &long_prompt, 16)?;
            let name = format!("seeded-{index}-long-{kv_cache:?}-cache").to_lowercase();
            lines.push(line(name, hash, compute));
        }
    }
    Ok(lines)
}

/// Hash of what chat templates that nest as deep as they may, and deeper, say: on every target they end within its stack, with
/// the same text or error.
pub fn deep_templates() -> Line {
    let message = [Message::new("user", "Hi")];
    let mut hash = HASH_START;
    for (_, source) in templates::deep_templates() {
        let prompt =
            ChatTemplate::new(&*source, "<s>", "</s>").and_then(|template| template.render(&message, true));
        let text = prompt.map_or_else(|error| error.to_string(), |prompt| prompt.text().to_string());
        hash = text.bytes().fold(hash, |hash, byte| logits_hash(hash, &[f32::from_bits(byte.into())]));
    }
    Line { what: "deep-templates".to_string(), hash, kernels: "none", threads: 1 }
}

/// A text with corner cases of tokenizers.
const TEXT: &str = "The 3rd café's naïve façade: 漢字 🇩🇪👩‍🚀\t\u{a0}e\u{301} isn't\r\n  42.0<|im_end|>";

/// Hashes of the tokens of a text, and of a model file's logits over them and over greedy tokens.
///
/// # Errors
/// If the engine refuses the model.
pub fn given_model(file: Vec<u8>, compute: &Compute) -> Result<Vec<Line>, Error> {
    let model = Model::with_compute(file, compute.clone())?;
    let prompt = model.tokenizer().encode(TEXT, true)?;
    let tokens = prompt.iter().fold(HASH_START, |hash, &token| logits_hash(hash, &[f32::from_bits(token)]));
    let logits = greedy_hash(&model, SessionOptions::default(), &prompt, 16)?;
    let options = SessionOptions { kv_cache: CacheFormat::Int8, ..Default::default() };
    let int8_cache = greedy_hash(&model, options, &prompt, 16)?;
    Ok(vec![
        line("given-model-int8-cache".to_string(), int8_cache, compute),
        line("given-model-tokens".to_string(), tokens, compute),
        line("given-model-logits".to_string(), logits, compute),
    ])
}

/// Greedy tokens after the text, and the hash of all logits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Greedy {
    /// The text's tokens.
    pub prompt: Vec<TokenId>,
    /// The greedy tokens.
    pub tokens: Vec<TokenId>,
    /// [`logits_hash`] after the prompt and after every token, in hexadecimal.
    pub logits_hash: String,
}

/// Generates `count` greedy tokens with a model file; the browser's tests compare theirs.
///
/// # Errors
/// If the engine refuses the model.
pub fn greedy(file: Vec<u8>, compute: &Compute, count: usize) -> Result<Greedy, Error> {
    let model = Model::with_compute(file, compute.clone())?;
    let prompt = model.tokenizer().encode(TEXT, true)?;
    let mut tokens = Vec::new();
    let hash = greedy_run(&model, SessionOptions::default(), &prompt, count, |token| tokens.push(token))?;
    Ok(Greedy { prompt, tokens, logits_hash: format!("{hash:016x}") })
}

fn line(what: String, hash: u64, compute: &Compute) -> Line {
    Line { what, hash, kernels: compute.kernels().name(), threads: compute.threads() }
}

fn greedy_hash(
    model: &Model,
    options: SessionOptions,
    prompt: &[TokenId],
    count: usize,
) -> Result<u64, Error> {
    greedy_run(model, options, prompt, count, |_| ())
}

fn greedy_run(
    model: &Model,
    options: SessionOptions,
    prompt: &[TokenId],
    count: usize,
    mut each: impl FnMut(TokenId),
) -> Result<u64, Error> {
    let mut session = Session::new(model, options)?;
    let mut logits: &[f32] = session.prefill(prompt)?;
    let mut hash = logits_hash(HASH_START, logits);
    for _ in 0..count {
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
        each(best as TokenId);
        logits = session.decode(best as TokenId)?;
        hash = logits_hash(hash, logits);
    }
    Ok(hash)
}
