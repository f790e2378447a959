//! The archives that scripts/reference/families makes.

use edgellm_quantize::Source;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// A model in its published forms, and what transformers computes with it.
pub(crate) struct Fixture {
    files: BTreeMap<String, Vec<u8>>,
    pub(crate) reference: Reference,
    /// Of the vocabulary, after the tokens that `reference.every` chooses.
    pub(crate) log_probabilities: Vec<Vec<f64>>,
}

/// reference.json.
#[derive(Deserialize)]
pub(crate) struct Reference {
    /// A text.
    pub(crate) tokens: Vec<u32>,
    /// The log-probabilities are of every so many-th of its tokens, the last one among them.
    pub(crate) every: usize,
    /// Their unit.
    step: f64,
    pub(crate) prompt: Vec<u32>,
    /// What greedy decoding makes of it.
    pub(crate) greedy: Vec<u32>,
}

impl Fixture {
    /// The names of all fixtures.
    pub(crate) fn names() -> Vec<String> {
        let entries = fs::read_dir(folder()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let zips = paths.filter(|path| path.extension().is_some_and(|extension| extension == "zip"));
        let mut names: Vec<_> =
            zips.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }

    pub(crate) fn read(name: &str) -> Fixture {
        let mut archive = ZipArchive::new(File::open(folder().join(format!("{name}.zip"))).unwrap()).unwrap();
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let mut member = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            files.insert(member.name().unwrap().into_owned(), bytes);
        }
        let reference: Reference = serde_json::from_slice(&files["reference.json"]).unwrap();
        let steps = files["log_probabilities.u16"].as_chunks::<2>().0;
        let vocabulary = steps.len() / (reference.tokens.len() / reference.every);
        let rows = steps.chunks_exact(vocabulary).map(|row| {
            let rounded: Vec<f64> =
                row.iter().map(|&step| -f64::from(u16::from_le_bytes(step)) * reference.step).collect();
            // Rounding must not change the sum of the probabilities: the divergence would be of the order of a step, not
            // of its square.
            let sum: f64 = rounded.iter().map(|x| x.exp()).sum();
            rounded.iter().map(|x| x - sum.ln()).collect::<Vec<_>>()
        });
        let log_probabilities = rows.collect();
        Fixture { files, reference, log_probabilities }
    }

    /// The Hugging Face folder as a source.
    pub(crate) fn folder(&self) -> Result<Source<'_>, String> {
        let names = ["config.json", "tokenizer.json", "model.safetensors"];
        let files = names.map(|name| (name, self.files[name].as_slice()));
        Source::from_files(&files).map_err(|error| error.to_string())
    }

    /// The GGUF file as a source, if there is one: llama.cpp does not have all.
    pub(crate) fn gguf(&self) -> Option<Result<Source<'_>, String>> {
        Some(Source::from_gguf(self.gguf_bytes()?).map_err(|error| error.to_string()))
    }

    /// The GGUF file, if there is one.
    pub(crate) fn gguf_bytes(&self) -> Option<&[u8]> {
        self.files.get("model.gguf").map(Vec::as_slice)
    }

    /// The same with other values in config.json.
    pub(crate) fn with_config(mut self, change: impl FnOnce(&mut serde_json::Value)) -> Fixture {
        let mut config = serde_json::from_slice(&self.files["config.json"]).unwrap();
        change(&mut config);
        self.files.insert("config.json".to_string(), serde_json::to_vec(&config).unwrap());
        self
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/families")
}
