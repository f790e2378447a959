//! The part of the Hugging Face hub's HTTP API that downloading a model needs.
//!
//! A revision is resolved to a commit first, so that all files belong together even if the repository changes
//! meanwhile. The hub gives the SHA-256 of large files and git's object name of small ones.

use super::http::{Client, RemoteFile};
use super::kept::Expected;
use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::output::human_bytes;
use crate::progress;
use edgellm::json;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode};

/// The hub, unless `HF_ENDPOINT` names another one, as for the official client.
const ENDPOINT: &str = "https://huggingface.co";
/// Timeout of a silent connection, unless `HF_HUB_DOWNLOAD_TIMEOUT` sets another one in seconds.
const PATIENCE: Duration = Duration::from_secs(30);
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

/// A connection to the hub.
pub(super) struct Hub {
    endpoint: String,
    client: Client,
    has_token: bool,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

/// The hub calls the checksum `oid` here and `sha256` there.
#[derive(Deserialize)]
struct Lfs {
    oid: Option<String>,
    sha256: Option<String>,
    size: u64,
}

impl TreeEntry {
    fn expected(&self) -> Expected {
        Expected { name: self.path.clone(), length: self.length(), checksum: self.checksum() }
    }

    fn length(&self) -> u64 {
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

impl Hub {
    /// The hub that `HF_ENDPOINT` names, with the token in `HF_TOKEN`.
    pub(super) fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_string());
        let token = set("HF_TOKEN");
        let patience = set("HF_HUB_DOWNLOAD_TIMEOUT")
            .and_then(|seconds| seconds.trim().parse().ok())
            .map_or(PATIENCE, |seconds: u64| Duration::from_secs(seconds.max(1)));
        Hub {
            endpoint: endpoint.trim().trim_end_matches('/').to_string(),
            client: Client::new(
                token.as_deref().map(str::trim),
                patience,
                endpoint.trim().starts_with("https://"),
            ),
            has_token: token.is_some(),
        }
    }

    /// Downloads the files of `repository` that conversion needs to `folder`, resuming an earlier download. Returns what
    /// they are.
    ///
    /// # Errors
    /// If the hub refuses or lacks a file, they have more than `most` bytes, or a file is damaged.
    pub(super) fn fetch(
        &self,
        repository: &str,
        revision: &str,
        most: u64,
        folder: &Path,
    ) -> Result<Vec<Expected>> {
        let explain = |status: StatusCode, headers: &HeaderMap| self.explain(repository, status, headers);
        let endpoint = &self.endpoint;
        let url = format!("{endpoint}/api/models/{repository}/revision/{revision}");
        let Revision { sha } = parse(&url, &self.client.text(&url, &explain)?)?;
        if sha.is_empty() || !sha.chars().all(|c| c.is_ascii_alphanumeric()) {
            let problem = format!("the hub returned {sha:?}, which is not a commit");
            return Err(Error::Server { url, problem });
        }
        let url = format!("{endpoint}/api/models/{repository}/tree/{sha}");
        let tree: Vec<TreeEntry> = parse(&url, &self.client.text(&url, &explain)?)?;
        let refused = |problem| Error::Server { url: url.clone(), problem };
        let wanted = select(tree).map_err(|missing| refused(missing.to_string()))?;
        let total = wanted.iter().map(TreeEntry::length).fold(0, u64::saturating_add);
        if total > most {
            let (total, most) = (human_bytes(total), human_bytes(most));
            return Err(refused(format!(
                "the repository has {total} of files, more than {most} for this model"
            )));
        }
        let bar = progress::bytes(total, repository);
        let mut before = 0;
        for entry in &wanted {
            let target = folder.join(&entry.path);
            // An earlier run may have downloaded it.
            if !entry.expected().is_in(folder)? {
                let file = RemoteFile {
                    url: format!("{endpoint}/{repository}/resolve/{sha}/{}", entry.path),
                    expected: entry.expected(),
                };
                let part = folder.join(format!("{}.part", entry.path));
                self.client.download(&file, &part, &target, &explain, &mut |done| bar.set(before + done))?;
            }
            before += entry.length();
            bar.set(before);
        }
        Ok(wanted.iter().map(TreeEntry::expected).collect())
    }

    fn explain(&self, repository: &str, status: StatusCode, headers: &HeaderMap) -> Option<Error> {
        let page = format!("{}/{repository}", self.endpoint);
        let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        let problem = match status {
            StatusCode::UNAUTHORIZED if code == "RepoNotFound" => {
                "the hub knows no such repository, or it is private: set HF_TOKEN to a token that may read it"
                    .to_string()
            }
            StatusCode::UNAUTHORIZED if self.has_token => {
                "the hub did not accept the token in HF_TOKEN: make a new one in the hub's settings"
                    .to_string()
            }
            StatusCode::UNAUTHORIZED => "this model is gated: accept its licence on that page, \
                make an access token in the hub's settings, and run again with HF_TOKEN set to it"
                .to_string(),
            StatusCode::FORBIDDEN => {
                "this model is gated and your account has no access yet: accept its licence on that page, \
                then run again with HF_TOKEN set"
                    .to_string()
            }
            StatusCode::NOT_FOUND => "the hub has no such repository, revision or file".to_string(),
            status if status.is_client_error() && !passing(status) => {
                format!("the hub answered {status}")
            }
            _ => return None,
        };
        Some(Error::Server { url: page, problem })
    }
}

/// Client errors that the download handles itself.
fn passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::RANGE_NOT_SATISFIABLE
    )
}

fn parse<T: DeserializeOwned>(url: &str, body: &str) -> Result<T> {
    json::read(body.as_bytes()).map_err(|error| Error::Server {
        url: url.to_string(),
        problem: format!("the response does not match the hub's API ({error})"),
    })
}

/// A repository that cannot be converted.
#[derive(Debug, thiserror::Error)]
enum MissingFile {
    #[error("the repository has no {0}, which conversion needs")]
    Needed(&'static str),
    #[error("the repository has no model.safetensors and no shards of one")]
    Weights,
}

/// The files that conversion reads, small ones first.
fn select(tree: Vec<TreeEntry>) -> std::result::Result<Vec<TreeEntry>, MissingFile> {
    let has = |path: &str| tree.iter().any(|entry| entry.path == path);
    let whole = has("model.safetensors");
    let tokenizer = if has(TOKENIZER) { TOKENIZER } else { SENTENCEPIECE };
    let plain = |path: &str| path.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let shard = |path: &str| path.starts_with("model-") && path.ends_with(".safetensors") && plain(path);
    let mut wanted: Vec<TreeEntry> = tree
        .into_iter()
        .filter(|entry| entry.kind == "file")
        .filter(|entry| {
            let path = entry.path.as_str();
            let weights = if whole { path == "model.safetensors" } else { path == INDEX || shard(path) };
            weights || path == tokenizer || SMALL_FILES.contains(&path)
        })
        .collect();
    for (found, needed) in [("config.json", "config.json"), (tokenizer, TOKENIZER)] {
        if !wanted.iter().any(|entry| entry.path == found) {
            return Err(MissingFile::Needed(needed));
        }
    }
    if !wanted.iter().any(|entry| entry.path.ends_with(".safetensors")) {
        return Err(MissingFile::Weights);
    }
    wanted.sort_by_key(TreeEntry::length);
    let mut names = HashSet::new();
    wanted.retain(|entry| names.insert(entry.path.clone()));
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size: u64) -> TreeEntry {
        TreeEntry { kind: "file".into(), path: path.into(), size, oid: String::new(), lfs: None }
    }

    fn selected(paths: &[&str]) -> std::result::Result<Vec<String>, MissingFile> {
        let tree = paths.iter().enumerate().map(|(index, path)| entry(path, index as u64)).collect();
        select(tree).map(|wanted| wanted.into_iter().map(|entry| entry.path).collect())
    }

    #[test]
    fn only_what_conversion_reads_is_selected() {
        let common = [
            "README.md",
            "config.json",
            "tokenizer.json",
            "onnx/model.safetensors",
            "../model-x.safetensors",
            "model-/../../x.safetensors",
            "model-\\x.safetensors",
            "model-\n\u{1b}[31m.safetensors",
            "model-%2e%2e.safetensors",
        ];
        let whole =
            [&common[..], &["model.safetensors", "model-00001.safetensors", "pytorch_model.bin"]].concat();
        assert_eq!(selected(&whole).unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
        let shards = [&common[..], &["model-1.safetensors", "model-2.safetensors", INDEX]].concat();
        assert_eq!(selected(&shards).unwrap().len(), 5);
        assert!(matches!(selected(&common), Err(MissingFile::Weights)));
        let older = ["config.json", "added_tokens.json", "tokenizer.model", "model.safetensors"];
        assert_eq!(selected(&older).unwrap(), older);
        let both = ["config.json", "tokenizer.model", "tokenizer.json", "model.safetensors"];
        assert_eq!(selected(&both).unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
        let no_tokenizer = selected(&["config.json", "model.safetensors"]);
        assert!(matches!(no_tokenizer, Err(MissingFile::Needed("tokenizer.json"))));
    }

    #[test]
    fn both_spellings_of_the_checksum_are_read() {
        for text in [
            r#"{"type":"file","path":"a","size":1,"oid":"x","lfs":{"oid":"AB","size":7,"pointerSize":1}}"#,
            r#"{"type":"file","path":"a","size":1,"oid":"x","lfs":{"sha256":"sha256:ab","size":7}}"#,
            r#"{"type":"file","path":"a","size":null,"oid":null,"lfs":{"sha256":"ab","oid":"sha256:ab","size":7.0}}"#,
        ] {
            let entry: TreeEntry = json::read(text.as_bytes()).unwrap();
            assert_eq!((entry.length(), entry.checksum()), (7, Checksum::Sha256("ab".into())));
        }
    }
}
