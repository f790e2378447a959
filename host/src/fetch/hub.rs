//! The part of the Hugging Face hub's HTTP API that downloading a model needs.
//!
//! A revision is resolved to a commit first, so that all files belong together even if the repository changes
//! meanwhile. The hub gives the SHA-256 of large files and git's object name of small ones.

use super::http::{Client, Explain, RemoteFile};
use super::kept::Expected;
use super::tree::{TreeEntry, select};
use crate::error::{Error, Result};
use crate::output::human_bytes;
use crate::progress;
use crate::reference::Choice;
use edgellm::json;
use edgellm::text::printable;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode};

/// The hub, unless `HF_ENDPOINT` names another one, as for the official client.
const ENDPOINT: &str = "https://huggingface.co";
/// Timeout of a silent connection, unless `HF_HUB_DOWNLOAD_TIMEOUT` sets another one in seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pages of a listing, at most: the hub puts a thousand files on one.
const MOST_PAGES: usize = 20;
/// Files that a message names, at most.
const MOST_NAMES: usize = 4;

/// A connection to the hub.
pub(super) struct Hub {
    endpoint: String,
    client: Client,
    has_token: bool,
}

/// What is wanted of a repository.
pub(super) struct Wanted<'a> {
    /// What the user calls it.
    pub(super) name: &'a str,
    pub(super) repository: &'a str,
    pub(super) choice: &'a Choice,
    /// The licence, if the catalogue has it.
    pub(super) licence: Option<&'a str>,
    /// Bytes, at most.
    pub(super) most: u64,
}

/// A repository in the state that a revision names.
#[derive(Deserialize)]
pub(super) struct Revision {
    /// The commit.
    pub(super) sha: String,
    #[serde(default, rename = "cardData")]
    card: Value,
    #[serde(default)]
    tags: Value,
}

impl Revision {
    /// A commit of which no more is known.
    pub(super) fn of(sha: String) -> Self {
        Revision { sha, card: Value::Null, tags: Value::Null }
    }

    /// The licence, as the repository states it.
    fn licence(&self) -> Option<String> {
        let stated = |key: &str| self.card.get(key).and_then(Value::as_str);
        let tags = self.tags.as_array().into_iter().flatten().filter_map(Value::as_str);
        let tagged = || tags.filter_map(|tag| tag.strip_prefix("license:")).next();
        let licence = stated("license").or_else(tagged)?;
        // Licences without a name of the hub's have one of their own.
        let licence = if licence == "other" { stated("license_name").unwrap_or(licence) } else { licence };
        Some(printable(licence, 60).into_owned())
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

    /// The commit that `revision` of `repository` is, and what the hub knows about it.
    ///
    /// # Errors
    /// If the hub refuses, or knows no such repository or revision.
    pub(super) fn revision(&self, repository: &str, revision: &str) -> Result<Revision> {
        let explain = |status: StatusCode, headers: &HeaderMap| self.explain(repository, status, headers);
        let encoded = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{repository}/revision/{encoded}", self.endpoint);
        let found: Revision = parse(&url, &self.client.text(&url, &explain)?.text)?;
        if found.sha.is_empty() || !found.sha.chars().all(|c| c.is_ascii_alphanumeric()) {
            let problem = format!("the hub returned {:?}, which is not a commit", found.sha);
            return Err(Error::Server { url, problem });
        }
        Ok(found)
    }

    /// Downloads the files that are `wanted`, in the state `found`, to `folder`, resuming an earlier download. Says first
    /// what they are. Returns that.
    ///
    /// # Errors
    /// If the hub refuses or lacks a file, there are too many bytes, or a file is damaged.
    pub(super) fn fetch(
        &self,
        wanted: &Wanted<'_>,
        found: &Revision,
        folder: &Path,
    ) -> Result<Vec<Expected>> {
        let Wanted { name, repository, choice, licence, most } = *wanted;
        let (endpoint, sha) = (&self.endpoint, &found.sha);
        let explain = |status: StatusCode, headers: &HeaderMap| self.explain(repository, status, headers);
        let url = format!("{endpoint}/api/models/{repository}/tree/{sha}");
        let refused = |problem| Error::Server { url: url.clone(), problem };
        let files = select(self.list(&url, choice, &explain)?, choice);
        let files = files.map_err(|missing| refused(missing.to_string()))?;
        let total = files.iter().map(TreeEntry::length).fold(0, u64::saturating_add);
        if total > most {
            let (total, most) = (human_bytes(total), human_bytes(most));
            return Err(refused(format!(
                "the repository has {total} of files, more than {most} for this model"
            )));
        }
        let expected: Vec<Expected> = files.iter().map(TreeEntry::expected).collect();
        if let Some(file) = expected.iter().find(|file| !file.checksum.is_complete()) {
            return Err(refused(format!("the hub states no checksum of {}", file.name)));
        }
        let licence = licence.map(str::to_string).or_else(|| found.licence());
        let (size, licence) = (human_bytes(total), licence.as_deref().unwrap_or("see the repository"));
        progress::note(&format!("downloading {name}: {} ({size}, licence: {licence})", names(&expected)));
        let bar = progress::bytes(total, repository);
        let mut before = 0;
        for (entry, expected) in files.iter().zip(&expected) {
            // An earlier run may have downloaded it.
            if !expected.is_in(folder)? {
                let url = format!("{endpoint}/{repository}/resolve/{sha}/{}", entry.path);
                let file = RemoteFile { url, expected: expected.clone() };
                let target = folder.join(&expected.name);
                let part = folder.join(format!("{}.part", expected.name));
                self.client.download(&file, &part, &target, &explain, &mut |done| bar.set(before + done))?;
            }
            before += expected.length;
            bar.set(before);
        }
        Ok(expected)
    }

    /// The files of a repository: those at its top if these are all that `choice` can mean.
    fn list(&self, url: &str, choice: &Choice, explain: &Explain<'_>) -> Result<Vec<TreeEntry>> {
        let mut tree = Vec::new();
        let mut next = match choice {
            Choice::Safetensors => Some(url.to_string()),
            _ => Some(format!("{url}?recursive=true")),
        };
        for _ in 0..MOST_PAGES {
            let Some(page) = next else { return Ok(tree) };
            let answer = self.client.text(&page, explain)?;
            let entries: Vec<TreeEntry> = parse(&page, &answer.text)?;
            tree.extend(entries);
            next = answer.next;
            // The token goes along.
            if next.as_ref().is_some_and(|next| !next.starts_with(&format!("{}/", self.endpoint))) {
                let problem = "the listing goes on at another address".to_string();
                return Err(Error::Server { url: page, problem });
            }
        }
        let problem = format!("the listing has more than {MOST_PAGES} pages");
        Err(Error::Server { url: url.to_string(), problem })
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
            StatusCode::NOT_FOUND if code == "RevisionNotFound" => {
                "the repository has no such revision: give a branch, a tag or a commit of it".to_string()
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

/// The names of files, for a message.
fn names(files: &[Expected]) -> String {
    let names: Vec<&str> = files.iter().take(MOST_NAMES).map(|file| file.name.as_str()).collect();
    match files.len().saturating_sub(MOST_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_is_the_cards_or_a_tag() {
        for (text, expected) in [
            (r#"{"sha":"0","cardData":{"license":"mit"},"tags":["license:other"]}"#, Some("mit")),
            (r#"{"sha":"0","cardData":{"license":"other","license_name":"lfm1.0"}}"#, Some("lfm1.0")),
            (r#"{"sha":"0","cardData":null,"tags":["gguf","license:gemma"]}"#, Some("gemma")),
            (r#"{"sha":"0","cardData":{"license":["a"]},"tags":[7]}"#, None),
            (r#"{"sha":"0"}"#, None),
        ] {
            assert_eq!(
                json::read::<Revision>(text.as_bytes()).unwrap().licence().as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
