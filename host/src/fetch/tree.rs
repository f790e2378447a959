//! The hub's listing of a repository, and which of its files make a model.

use super::kept::Expected;
use crate::checksum::Checksum;
use crate::reference::{Choice, GGUF, is_plain_path};
use edgellm_quantize::Parts;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// Small files that conversion reads, if present.
const SMALL_FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];
/// The tokenizer.
const TOKENIZER: &str = "tokenizer.json";
/// What older repositories have instead of it.
const SENTENCEPIECE: &str = "tokenizer.model";
/// The index of weights that are split over several files.
const INDEX: &str = "model.safetensors.index.json";
/// What is taken of a repository with several GGUF files if the user names none: as in llama.cpp (`find_best_model` in
/// common/download.cpp), except that Q4_0, which is half as large, comes before Q8_0.
const PREFERRED: [&str; 3] = ["Q4_K_M", "Q4_0", "Q8_0"];
/// In the names of GGUF files that are no language models of their own: encoders of images and sound, matrices for
/// quantizers, drafts of a larger model. As in llama.cpp (`gguf_filename_is_model`).
const COMPANIONS: [&str; 6] = ["mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-"];
/// Names in a message, at most.
const MOST_NAMES: usize = 20;

/// A file or directory of a repository.
#[derive(Clone, Deserialize)]
pub(super) struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    /// The path in the repository.
    pub(super) path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

/// The hub calls the checksum `oid` here and `sha256` there.
#[derive(Clone, Deserialize)]
struct Lfs {
    oid: Option<String>,
    sha256: Option<String>,
    size: u64,
}

impl TreeEntry {
    /// What the downloaded file must be. The files of a model lie in one directory, under their names alone.
    pub(super) fn expected(&self) -> Expected {
        let name = self.path.rsplit('/').next().unwrap_or_default().to_string();
        Expected { name, length: self.length(), checksum: self.checksum() }
    }

    /// Its bytes.
    pub(super) fn length(&self) -> u64 {
        self.lfs.as_ref().map_or(self.size, |lfs| lfs.size)
    }

    fn checksum(&self) -> Checksum {
        match &self.lfs {
            Some(lfs) => {
                let sum = lfs.sha256.as_ref().or(lfs.oid.as_ref()).map_or("", String::as_str);
                Checksum::Sha256(sum.trim_start_matches("sha256:").to_lowercase())
            }
            None => Checksum::GitBlob(self.oid.to_lowercase()),
        }
    }
}

/// A repository without the files that are asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum MissingFile {
    #[error("the repository has no {0}, which conversion needs")]
    Needed(&'static str),
    #[error("the repository has no model.safetensors and no shards of one")]
    Weights,
    #[error("the repository has neither a GGUF file nor model.safetensors; its files are {0}")]
    Model(String),
    #[error("the repository has no GGUF file for {wanted}; it has {found}")]
    Quant { wanted: String, found: String },
    #[error("the repository has no GGUF file {wanted}; it has {found}")]
    File { wanted: String, found: String },
    #[error("the repository lacks {0}, a part of the split GGUF file")]
    Part(String),
}

/// The files of the model that `choice` means.
pub(super) fn select(mut tree: Vec<TreeEntry>, choice: &Choice) -> Result<Vec<TreeEntry>, MissingFile> {
    // What leads elsewhere, on this disk or on the hub, is not there.
    let mut paths = HashSet::new();
    tree.retain(|entry| {
        entry.kind == "file" && is_plain_path(&entry.path) && paths.insert(entry.path.clone())
    });
    let models: Vec<&TreeEntry> = tree.iter().filter(|entry| is_model(&entry.path)).collect();
    let tagged = |tag: &str| models.iter().copied().find(|entry| has_tag(&entry.path, tag));
    let first = match choice {
        Choice::Safetensors => return folder(tree),
        Choice::Any if models.is_empty() => {
            let names = listed(tree.iter().map(|entry| entry.path.clone()));
            return folder(tree).map_err(|missing| match missing {
                MissingFile::Weights => MissingFile::Model(names),
                other => other,
            });
        }
        Choice::Any => PREFERRED.into_iter().find_map(tagged).unwrap_or(models[0]),
        Choice::Quant(wanted) => tagged(wanted).ok_or_else(|| {
            let found = listed(models.iter().map(|entry| tag(&entry.path).unwrap_or(entry.path.clone())));
            MissingFile::Quant { wanted: wanted.clone(), found }
        })?,
        Choice::File(wanted) => {
            models.iter().copied().find(|entry| entry.path == *wanted).ok_or_else(|| {
                let found = listed(models.iter().map(|entry| entry.path.clone()));
                MissingFile::File { wanted: wanted.clone(), found }
            })?
        }
    };
    let paths: HashMap<&str, &TreeEntry> = tree.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let part = |path: String| paths.get(path.as_str()).copied().cloned().ok_or(MissingFile::Part(path));
    parts(&first.path).into_iter().map(part).collect()
}

/// The files of the published weights that conversion reads, small ones first.
fn folder(tree: Vec<TreeEntry>) -> Result<Vec<TreeEntry>, MissingFile> {
    let has = |path: &str| tree.iter().any(|entry| entry.path == path);
    let whole = has("model.safetensors");
    let tokenizer = if has(TOKENIZER) { TOKENIZER } else { SENTENCEPIECE };
    let missing =
        [("config.json", "config.json"), (tokenizer, TOKENIZER)].into_iter().find(|(path, _)| !has(path));
    let shard =
        |path: &str| path.starts_with("model-") && path.ends_with(".safetensors") && !path.contains('/');
    let mut wanted: Vec<TreeEntry> = tree
        .into_iter()
        .filter(|entry| {
            let path = entry.path.as_str();
            let weights = if whole { path == "model.safetensors" } else { path == INDEX || shard(path) };
            weights || path == tokenizer || SMALL_FILES.contains(&path)
        })
        .collect();
    if !wanted.iter().any(|entry| entry.path.ends_with(".safetensors")) {
        return Err(MissingFile::Weights);
    }
    if let Some((_, needed)) = missing {
        return Err(MissingFile::Needed(needed));
    }
    wanted.sort_by_key(TreeEntry::length);
    Ok(wanted)
}

/// Whether a file is a GGUF file of a language model.
fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    name.ends_with(GGUF) && !COMPANIONS.iter().any(|companion| name.contains(companion))
}

/// Whether a GGUF file's path has the quantization `tag` as a word of its own: F16 is none of `model-BF16.gguf`.
fn has_tag(path: &str, tag: &str) -> bool {
    let path = path.to_ascii_uppercase();
    path.match_indices(tag).any(|(at, _)| {
        let before = path[..at].bytes().next_back();
        let after = path[at + tag.len()..].bytes().next();
        before.is_none_or(|byte| !byte.is_ascii_alphanumeric())
            && after.is_some_and(|byte| b".-/".contains(&byte))
    })
}

/// The quantization at the end of a GGUF file's name, in upper case, where llama.cpp looks for it too.
fn tag(path: &str) -> Option<String> {
    let stem = stem(path)?;
    let stem = match Parts::of(stem) {
        Some(_) => stem.rsplitn(4, '-').last()?,
        None => stem,
    };
    let tag = &stem[stem.rfind(['-', '.'])? + 1..];
    tag.bytes().any(|byte| byte.is_ascii_digit()).then(|| tag.to_ascii_uppercase())
}

/// The paths of the files into which a GGUF file is split, or its own.
fn parts(path: &str) -> Vec<String> {
    let Some((stem, parts)) = stem(path).and_then(|stem| Some((stem, Parts::of(stem)?))) else {
        return vec![path.to_string()];
    };
    let at = path.rfind('/').map_or(0, |slash| slash + 1);
    let ending = &path[at + stem.len()..];
    parts.names().map(|name| format!("{}{name}{ending}", &path[..at])).collect()
}

/// The name of a GGUF file without its ending.
fn stem(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    name.get(..name.len().checked_sub(GGUF.len())?)
}

/// Names for a message, each once.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut seen = HashSet::new();
    let names: Vec<String> = names.filter(|name| seen.insert(name.clone())).collect();
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match names.as_slice() {
        [] => "none".to_string(),
        names => format!("{}{more}", names[..names.len().min(MOST_NAMES)].join(", ")),
    }
}

#[cfg(test)]
mod tests;
