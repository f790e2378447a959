//! What converted files are called in the cache.

use crate::cache::{self, MODEL_SUFFIX};
use crate::error::{Error, Result};
use crate::progress;
use edgellm_quantize::{Format, RULES_VERSION};
use sha2::{Digest as _, Sha256};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of the files converted from one source: which source it is, and what decides its conversion: the state of its
/// files and the version of the rules. A conversion of an earlier state has the same source and another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    source: String,
    state: String,
    /// A source outside the cache, and the files into which it is split.
    path: Option<(PathBuf, Vec<PathBuf>)>,
}

impl Key {
    /// Of a model of the catalogue or the hub: when its download changes, what was converted from it is removed.
    pub(crate) fn of_catalogue(name: &str) -> Self {
        Key { source: cache::file_name(name), state: format!("v{RULES_VERSION}"), path: None }
    }

    /// Of a file or directory in its present state; `parts` are the files of a split one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of_path(path: &Path, parts: Vec<PathBuf>) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let source =
            format!("{stem}-{}", digits(Sha256::new().chain_update(path.as_os_str().as_encoded_bytes())));
        let state = digits(state(path, &parts)?);
        Ok(Key { source, state, path: Some((path.to_path_buf(), parts)) })
    }

    /// The same source in its present state.
    ///
    /// # Errors
    /// If it cannot be read any longer.
    pub(crate) fn renewed(&self) -> Result<Self> {
        match &self.path {
            Some((path, parts)) => Key::of_path(path, parts.clone()),
            None => Ok(self.clone()),
        }
    }

    /// The name of the source, and of its lock.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The name of the file that is converted to `format`.
    pub(crate) fn file_name(&self, format: Format) -> String {
        format!("{}-{}-{format}{MODEL_SUFFIX}", self.source, self.state)
    }

    /// Removes the files in `folder` that were converted from earlier states of the source, or by other rules.
    pub(crate) fn remove_replaced(&self, folder: &Path) {
        for file in cache::model_files(folder) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if self.replaces(&name)
                && let Err(error) = fs::remove_file(&file)
            {
                // It only takes room.
                progress::note(&format!(
                    "warning: cannot remove {}, which is replaced: {error}",
                    file.display()
                ));
            }
        }
    }

    /// Whether a file was converted from an earlier state of the source, or by other rules.
    fn replaces(&self, name: &str) -> bool {
        let state = name.strip_prefix(&self.source).and_then(|rest| rest.strip_prefix('-'));
        let current = |state: &str| state.strip_prefix(&self.state).is_some_and(|rest| rest.starts_with('-'));
        state.is_some_and(|state| !current(state))
    }
}

/// What the conversion of a file and its other parts, or of the files in a directory, depends on.
fn state(path: &Path, parts: &[PathBuf]) -> Result<Sha256> {
    let mut hasher = Sha256::new().chain_update(RULES_VERSION.to_le_bytes());
    let mut add = |path: &Path| -> Result<()> {
        let found = fs::metadata(path).map_err(Error::file("read", path))?;
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(found.len().to_le_bytes());
        hasher.update(nanoseconds(found.modified()).to_le_bytes());
        hasher.update(identity(&found));
        Ok(())
    };
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(Error::file("read", path))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        files.iter().filter(|file| file.is_file()).try_for_each(|file| add(file))?;
    } else {
        add(path)?;
        parts.iter().try_for_each(|part| add(part))?;
    }
    Ok(hasher)
}

/// What changes when another file takes this one's place, or when it is written to, whatever its modification time says:
/// that is the same in all files of an image, and copying programs set it.
#[cfg(unix)]
fn identity(found: &Metadata) -> [u8; 24] {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&found.ino().to_le_bytes());
    bytes[8..16].copy_from_slice(&found.ctime().to_le_bytes());
    bytes[16..].copy_from_slice(&found.ctime_nsec().to_le_bytes());
    bytes
}

/// The nearest that other systems have.
#[cfg(not(unix))]
fn identity(found: &Metadata) -> [u8; 16] {
    nanoseconds(found.created()).to_le_bytes()
}

/// A time since 1970; 0 where there is none.
fn nanoseconds(time: std::io::Result<SystemTime>) -> u128 {
    time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_nanos())
}

/// Eight hexadecimal digits.
fn digits(hasher: Sha256) -> String {
    hasher.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_catalogue_name_holds_the_version_of_the_rules() {
        let key = Key::of_catalogue("smollm2-135m-instruct");
        let current = key.file_name(Format::Int4);
        assert_eq!(current, format!("smollm2-135m-instruct-v{RULES_VERSION}-int4.tmac2.bin"));
        assert!(!key.replaces(&current) && !key.replaces(&key.file_name(Format::Int8)));
        for old in ["int4", "v1-int4", "v1-int8", "v1000-int4"] {
            assert!(key.replaces(&format!("smollm2-135m-instruct-{old}.tmac2.bin")), "{old}");
        }
        assert!(!key.replaces("smollm2-135m-v1-int4.tmac2.bin"));
        assert_eq!(key.renewed().unwrap(), key);
    }

    #[test]
    fn another_file_in_the_same_place_has_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            File::options().write(true).open(&file).unwrap().set_modified(UNIX_EPOCH).unwrap();
            file
        };
        write("model.gguf", "one");
        let first = Key::of_path(&path, Vec::new()).unwrap();
        assert_eq!(first.renewed().unwrap(), first);
        fs::rename(write("other", "two"), &path).unwrap();
        let second = first.renewed().unwrap();
        assert_eq!(first.source(), second.source());
        assert_ne!(first.state, second.state, "the inode is another");
        assert!(
            second.replaces(&first.file_name(Format::Int8))
                && !second.replaces(&second.file_name(Format::Int8))
        );
        // The clock of a file system may tick 100 times a second.
        std::thread::sleep(std::time::Duration::from_millis(25));
        write("model.gguf", "six");
        assert_ne!(second.renewed().unwrap().state, second.state, "the change time is another");
        let elsewhere = Key::of_path(&write("model", "two"), Vec::new()).unwrap();
        assert!(!elsewhere.replaces(&second.file_name(Format::Int8)), "another source of the same name");
        fs::remove_file(&path).unwrap();
        assert!(second.renewed().is_err());
    }

    #[test]
    fn a_directory_changes_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("config.json"), "{}").unwrap();
        let first = Key::of_path(&path, Vec::new()).unwrap();
        assert_eq!(first.renewed().unwrap(), first);
        fs::write(path.join("tokenizer.json"), "{}").unwrap();
        assert!(first.renewed().unwrap().replaces(&first.file_name(Format::Int4)));
    }

    #[test]
    fn a_split_file_changes_with_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"].map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, "GGUF").unwrap();
            path
        });
        let key = Key::of_path(&first, vec![first.clone(), second.clone()]).unwrap();
        assert_eq!(key.renewed().unwrap(), key);
        fs::write(&second, "GGUF again").unwrap();
        let changed = key.renewed().unwrap();
        assert_eq!(changed.source(), key.source());
        assert_ne!(changed.state, key.state);
    }

    #[test]
    fn only_what_is_replaced_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key { source: "m-0a".into(), state: "11".into(), path: None };
        let kept =
            [key.file_name(Format::Int4), key.file_name(Format::Int8), "m-0b-22-int4.tmac2.bin".into()];
        let replaced = ["m-0a-22-int4.tmac2.bin", "m-0a-22-int8.tmac2.bin", "m-0a-int4.tmac2.bin"];
        let other = ["m-0a-22-int4.txt", ".m-0a-22-int4.tmac2.bin"];
        let all = kept.iter().map(String::as_str).chain(replaced).chain(other);
        all.for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        key.remove_replaced(folder.path());
        let left = |name: &str| folder.path().join(name).exists();
        assert!(
            kept.iter().all(|name| left(name))
                && other.into_iter().all(left)
                && !replaced.into_iter().any(left)
        );
    }
}
