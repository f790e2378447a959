//! Whether the download in the cache is still what was downloaded.
//!
//! The catalogue has the checksum of a model from packages. For one from the hub, the commit and the checksums that the hub
//! gave are kept in a file beside the others.

use crate::atomic_file;
use crate::catalogue::{Entry, Source};
use crate::checksum::{Checksum, Hasher, hash};
use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// The file with the checksums of the others.
const LIST: &str = "checksums.txt";
/// The start of its first line, before the commit.
const COMMIT: &str = "commit ";

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) length: u64,
    pub(super) checksum: Checksum,
}

impl Expected {
    /// Whether the file in `folder` is that.
    ///
    /// # Errors
    /// If there is something else than a file, or it cannot be read.
    pub(super) fn is_in(&self, folder: &Path) -> Result<bool> {
        let path = folder.join(&self.name);
        let file = match edgellm_files::open(&path) {
            Err(edgellm_files::Error::Missing { .. }) => return Ok(false),
            other => other?,
        };
        self.is(&file).map_err(Error::file("read", &path))
    }

    fn is(&self, file: &std::fs::File) -> io::Result<bool> {
        if file.metadata()?.len() != self.length {
            return Ok(false);
        }
        let mut hasher = Hasher::like(&self.checksum, self.length);
        Ok(hash(file, &mut hasher)? == self.length && hasher.finish() == self.checksum)
    }
}

/// The files of a download, and the commit that they are of. Earlier versions kept no commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) commit: Option<String>,
    pub(super) files: Vec<Expected>,
}

impl List {
    /// Keeps the list in `folder`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn keep(&self, folder: &Path) -> Result<()> {
        let mut text = String::new();
        if let Some(commit) = &self.commit {
            let _ = writeln!(text, "{COMMIT}{commit}");
        }
        for Expected { name, length, checksum } in &self.files {
            let _ = writeln!(text, "{checksum} {length} {name}");
        }
        atomic_file::write(&folder.join(LIST), text.as_bytes())
    }

    /// The list of the download in `folder`; without files if there is none or it is damaged.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = match edgellm_files::read_to_string(&folder.join(LIST)) {
            Err(edgellm_files::Error::Missing { .. }) => String::new(),
            other => other?,
        };
        let (commit, rest) = match text.strip_prefix(COMMIT).and_then(|text| text.split_once('\n')) {
            Some((commit, rest)) => (Some(commit.to_string()), rest),
            None => (None, text.as_str()),
        };
        Ok(List { commit, files: rest.lines().map(parse).collect::<Option<_>>().unwrap_or_default() })
    }
}

/// The first thing that is wrong with the download of `entry` in `folder`; `None` if it is what was downloaded.
///
/// # Errors
/// If it cannot be read.
pub(super) fn problem(entry: &Entry, folder: &Path) -> Result<Option<String>> {
    let list = match &entry.source {
        Source::Pypi { file, sha256, length, .. } => {
            let checksum = Checksum::Sha256(sha256.clone());
            vec![Expected { name: file.clone(), length: *length, checksum }]
        }
        Source::Hub { .. } => match List::read(folder)?.files {
            list if list.is_empty() => return Ok(Some("its checksums are missing".to_string())),
            list => list,
        },
    };
    for expected in list {
        if !expected.is_in(folder)? {
            return Ok(Some(format!("{} is damaged", expected.name)));
        }
    }
    Ok(None)
}

/// A line of the list, such as `sha256 0af1... 1234 model.safetensors`.
fn parse(line: &str) -> Option<Expected> {
    let (checksum, rest) = match line.strip_prefix("git blob ") {
        Some(rest) => {
            let (hex, rest) = rest.split_once(' ')?;
            (Checksum::GitBlob(hex.to_string()), rest)
        }
        None => {
            let (hex, rest) = line.strip_prefix("sha256 ")?.split_once(' ')?;
            (Checksum::Sha256(hex.to_string()), rest)
        }
    };
    let (length, name) = rest.split_once(' ')?;
    Some(Expected { name: name.to_string(), length: length.parse().ok()?, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = vec![
            Expected { name: "a b.json".into(), length: 7, checksum: Checksum::Sha256("0a".into()) },
            Expected { name: "c".into(), length: 0, checksum: Checksum::GitBlob("1b".into()) },
        ];
        for commit in [None, Some("2c".to_string())] {
            let list = List { commit, files: files.clone() };
            list.keep(folder.path()).unwrap();
            assert_eq!(List::read(folder.path()).unwrap(), list);
        }
        std::fs::remove_file(folder.path().join(LIST)).unwrap();
        assert_eq!(List::read(folder.path()).unwrap(), List::default());
        for line in ["", "sha256 0a", "md5 0a 7 b", "git blob 0a seven b", "sha256 0a 7"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
