//! Whether the download in the cache is still what was downloaded.
//!
//! The catalogue has the checksum of a model from packages. For one from the hub, the checksums that the hub gave are kept
//! in a file beside the others.

use crate::atomic_file;
use crate::catalogue::{Entry, Source};
use crate::checksum::{Checksum, Hasher, hash};
use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// The file with the checksums of the others.
pub(super) const LIST: &str = "checksums.txt";

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

/// Keeps the list of the files in `folder`.
///
/// # Errors
/// If it cannot be written.
pub(super) fn keep(list: &[Expected], folder: &Path) -> Result<()> {
    let mut text = String::new();
    for Expected { name, length, checksum } in list {
        let _ = writeln!(text, "{checksum} {length} {name}");
    }
    atomic_file::write(&folder.join(LIST), text.as_bytes())
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
        Source::Hub { .. } => {
            let text = match edgellm_files::read_to_string(&folder.join(LIST)) {
                Err(edgellm_files::Error::Missing { .. }) => String::new(),
                other => other?,
            };
            match text.lines().map(parse).collect::<Option<Vec<_>>>() {
                Some(list) if !list.is_empty() => list,
                _ => return Ok(Some("its checksums are missing".to_string())),
            }
        }
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
        let list = [
            Expected { name: "a b.json".into(), length: 7, checksum: Checksum::Sha256("0a".into()) },
            Expected { name: "c".into(), length: 0, checksum: Checksum::GitBlob("1b".into()) },
        ];
        keep(&list, folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(LIST)).unwrap();
        assert_eq!(text.lines().map(|line| parse(line).unwrap()).collect::<Vec<_>>(), list);
        for line in ["", "sha256 0a", "md5 0a 7 b", "git blob 0a seven b", "sha256 0a 7"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
