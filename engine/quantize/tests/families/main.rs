//! Every model family against transformers: random models of fixtures/families, whose weights int8 holds exactly, so that
//! only the rounding of activations and the order of float additions are left.

mod export;
mod fixture;

use edgellm::tensors::Role;
use edgellm::{Model, Precision, Session, SessionOptions};
use edgellm_quantize::gguf::Gguf;
use edgellm_quantize::{Format, QuantizeOptions, Source, SourceTensor, quantize};
use fixture::Fixture;
use std::io::Cursor;
use std::ops::ControlFlow;

/// The largest mean KL divergence (nats a token) of a right implementation; scripts/reference/families/README.md has what is measured.
const MAX_KL: f64 = 1e-5;

/// What a model computes.
struct Outcome {
    /// After each token of the reference's text.
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
}

impl Outcome {
    fn of(source: &Source<'_>, fixture: &Fixture) -> Result<Outcome, String> {
        let options = QuantizeOptions::new(Format::Int8);
        let mut out = Cursor::new(Vec::new());
        quantize(source, &options, &mut out, &mut |_| ControlFlow::Continue(()))
            .map_err(|error| error.to_string())?;
        let model = Model::from_bytes(out.into_inner()).map_err(|error| error.to_string())?;
        let mut outcome = Outcome { logits: Vec::new(), greedy: Vec::new() };
        let reference = &fixture.reference;
        session(&model, reference.tokens.len())?
            .prefill_each(&reference.tokens, |_, logits| outcome.logits.push(logits.to_vec()))
            .map_err(|error| error.to_string())?;
        let mut session = session(&model, reference.prompt.len() + reference.greedy.len())?;
        let mut token = largest(session.prefill(&reference.prompt).map_err(|error| error.to_string())?);
        for _ in &reference.greedy {
            outcome.greedy.push(token);
            token = largest(session.decode(token).map_err(|error| error.to_string())?);
        }
        Ok(outcome)
    }

    /// Mean of the divergence from the reference (nats).
    fn divergence(&self, fixture: &Fixture) -> f64 {
        let every = fixture.reference.every;
        let chosen = self.logits.iter().skip(every - 1).step_by(every);
        let each: Vec<f64> = fixture
            .log_probabilities
            .iter()
            .zip(chosen)
            .map(|(expected, logits)| kl(expected, logits))
            .collect();
        each.iter().sum::<f64>() / each.len() as f64
    }

    /// Says what differs from the reference, and the divergence if nothing does.
    fn check(&self, fixture: &Fixture) -> Result<f64, String> {
        let divergence = self.divergence(fixture);
        if divergence.is_nan() || divergence > MAX_KL {
            return Err(format!("mean KL divergence {divergence:.2e}, and {MAX_KL:.0e} at most is right"));
        }
        let expected = &fixture.reference.greedy;
        if self.greedy != *expected {
            return Err(format!("greedy text {:?}, and {expected:?} is right", self.greedy));
        }
        Ok(divergence)
    }
}

/// With room for that many tokens and no more: longrope has other frequencies for long contexts.
fn session(model: &Model, tokens: usize) -> Result<Session, String> {
    let options = SessionOptions {
        context_length: Some(tokens),
        precision: Precision::High,
        ..SessionOptions::default()
    };
    Session::new(model, options).map_err(|error| error.to_string())
}

fn largest(logits: &[f32]) -> u32 {
    let index = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    u32::try_from(index.unwrap()).unwrap()
}

/// KL divergence (nats) of the probabilities of logits from the expected ones, given by their logarithms.
fn kl(expected: &[f64], logits: &[f32]) -> f64 {
    assert_eq!(expected.len(), logits.len());
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let normalizer = f64::from(largest) + sum.ln();
    let term =
        |(&expected, &logit): (&f64, &f32)| expected.exp() * (expected - f64::from(logit) + normalizer);
    expected.iter().zip(logits).map(term).sum()
}

/// Checks both sources of a fixture, and that they give the same bits. Returns the divergence, or what is wrong.
fn check(fixture: &Fixture) -> Result<f64, String> {
    let folder = fixture.folder().and_then(|source| Outcome::of(&source, fixture));
    let folder = folder.map_err(|error| format!("safetensors: {error}"))?;
    let divergence = folder.check(fixture).map_err(|error| format!("safetensors: {error}"))?;
    if let Some(source) = fixture.gguf() {
        let gguf = source.and_then(|source| Outcome::of(&source, fixture));
        let gguf = gguf.map_err(|error| format!("GGUF: {error}"))?;
        gguf.check(fixture).map_err(|error| format!("GGUF: {error}"))?;
        let bits = |outcome: &Outcome| -> Vec<u32> {
            outcome.logits.iter().flatten().map(|logit| logit.to_bits()).collect()
        };
        // llama.cpp's converter puts value heads in another order, and their sum with them.
        let reordered = is_interleaved(fixture);
        if !reordered && bits(&folder) != bits(&gguf) {
            let divergence = gguf.divergence(fixture);
            let configs =
                [fixture.folder(), source_of_gguf(fixture)].map(|source| source.map(|source| source.config));
            return Err(format!(
                "the logits of the GGUF file are other bits; divergence {divergence:.2e}, configurations {configs:#?}"
            ));
        }
    }
    Ok(divergence)
}

fn source_of_gguf(fixture: &Fixture) -> Result<Source<'_>, String> {
    fixture.gguf().unwrap_or_else(|| Err("there is no GGUF file".to_string()))
}

fn is_interleaved(fixture: &Fixture) -> bool {
    source_of_gguf(fixture)
        .is_ok_and(|source| source.config.linear_attention.is_some_and(|shape| shape.interleaved))
}

/// FIXTURE=qwen3 chooses those whose names begin so.
#[test]
fn families_compute_what_transformers_computes() {
    let chosen = std::env::var("FIXTURE").unwrap_or_default();
    let names: Vec<_> = Fixture::names().into_iter().filter(|name| name.starts_with(&chosen)).collect();
    assert!(!names.is_empty(), "no fixtures");
    let mut wrong = Vec::new();
    for name in names {
        match check(&Fixture::read(&name)) {
            Ok(divergence) => println!("{name:20} {divergence:.2e}"),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} fixtures fail:\n{}", wrong.len(), wrong.join("\n"));
}

/// Importance matrices name matrices as GGUF files do, of Hugging Face folders too.
#[test]
fn every_matrix_has_its_name_in_gguf_files() {
    let matrices = |source: &Source<'_>| -> Vec<(String, Vec<String>, usize)> {
        let matrices = source.tensors().iter().filter(|tensor| tensor.role() != Role::Float);
        let names = |tensor: &SourceTensor<'_>| tensor.gguf_names().map(String::from).collect();
        matrices.map(|tensor| (tensor.name().to_string(), names(tensor), tensor.shape()[1])).collect()
    };
    let mut seen = 0;
    for name in Fixture::names() {
        let fixture = Fixture::read(&name);
        let Some(bytes) = fixture.gguf_bytes() else { continue };
        let file = Gguf::parse(bytes).unwrap();
        let source = Source::from_gguf(bytes).unwrap();
        for (ours, theirs, columns) in matrices(&source) {
            if theirs.is_empty() {
                assert!(ours.contains("embed") && !source.config.tie_word_embeddings, "{name}: {ours}");
                continue;
            }
            let found = theirs.iter().find_map(|name| file.tensor(name));
            assert_eq!(found.map(|tensor| tensor.shape[1]), Some(columns), "{name}: {ours}");
            seen += 1;
        }
        // The columns of this one are in another order there.
        let expected: Vec<_> = matrices(&source)
            .into_iter()
            .map(|(ours, theirs, columns)| {
                let reordered = is_interleaved(&fixture) && ours.ends_with("linear_attn.out_proj.weight");
                (ours, if reordered { Vec::new() } else { theirs }, columns)
            })
            .collect();
        assert_eq!(matrices(&fixture.folder().unwrap()), expected, "{name}");
    }
    assert!(seen > 100, "{seen}");
}

/// The bound is small enough: slightly other models are told apart.
#[test]
fn small_mistakes_show() {
    let divergence = |change: fn(&mut serde_json::Value)| {
        let fixture = Fixture::read("llama-1").with_config(change);
        let outcome = fixture.folder().and_then(|source| Outcome::of(&source, &fixture)).unwrap();
        outcome.divergence(&fixture)
    };
    assert!(divergence(|_| ()) < MAX_KL);
    let theta = divergence(|config| config["rope_parameters"]["rope_theta"] = 10_500.0.into());
    let epsilon = divergence(|config| config["rms_norm_eps"] = 0.0015.into());
    println!("other base of rotary frequencies {theta:.2e}, other epsilon {epsilon:.2e}");
    assert!(theta > 10.0 * MAX_KL && epsilon > 10.0 * MAX_KL, "{theta:.2e} {epsilon:.2e}");
}
