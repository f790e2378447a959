//! The one error type of the program: each variant says what failed, with its values, and what to do.

use crate::checksum::Checksum;
use std::io;
use std::path::{Path, PathBuf};

/// Result of everything that can fail in this program.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// Standard output or input failed.
    #[error("cannot {action}: {source}")]
    Stream { action: &'static str, source: io::Error },
    /// The model file is there but cannot be used.
    #[error("{}: {source}", path.display())]
    Model { path: PathBuf, source: edgellm::Error },
    /// A source cannot be converted.
    #[error("{}: {source}", path.display())]
    Convert { path: PathBuf, source: edgellm_quantize::QuantizeError },
    /// The conversion could not be written.
    #[error("cannot write {}: {source}{}", path.display(), advice_for_write(source))]
    Write { path: PathBuf, source: edgellm::format::WriteError },
    /// The engine refused a prompt, an option or a step.
    #[error(transparent)]
    Engine(#[from] edgellm::Error),
    /// The component or its sandbox failed.
    #[cfg(feature = "plugin")]
    #[error(transparent)]
    Plugin(#[from] edgellm_plugin_host::Error),
    /// The model file is there but cannot be used in the sandbox.
    #[cfg(feature = "plugin")]
    #[error("{}: {source}", path.display())]
    PluginModel { path: PathBuf, source: edgellm_plugin_host::Error },
    /// The model's chat template cannot be used, or refuses the messages.
    #[error(transparent)]
    Chat(#[from] edgellm::chat::ChatError),
    /// A sampling option is out of range.
    #[error(transparent)]
    Sampler(#[from] edgellm::sampler::SamplerError),
    /// No such file, and the words look like a path.
    #[error("there is no file {}", path.display())]
    NoSuchFile { path: PathBuf },
    /// A directory, device or pipe where a file is needed.
    #[error("{} is {found}: {advice}", path.display())]
    WrongKind { path: PathBuf, found: &'static str, advice: &'static str },
    /// A name that is neither in the catalogue nor a file.
    #[error(
        "there is no model {name:?}{}; `edgellm list` shows all of them, and a path works too",
        near(similar)
    )]
    UnknownModel { name: String, similar: Vec<&'static str> },
    /// An option or a combination of options that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No place for the cache.
    #[error("this system names no cache folder: set EDGELLM_HOME to a folder that edgellm may write to")]
    NoCacheFolder,
    /// A download has other bytes than it should.
    #[error(
        "{what} is not what it should be: its checksum is {actual} where {expected} was promised; \
        the file was removed, so run this again"
    )]
    WrongChecksum { what: String, expected: Checksum, actual: Checksum },
    /// A download is longer or shorter than promised.
    #[error(
        "{what} has {actual} bytes where {expected} were promised; the file was removed, so run this again"
    )]
    WrongLength { what: String, expected: u64, actual: u64 },
    /// A server answered something other than the file.
    #[error("{url}: {problem}")]
    Server { url: String, problem: String },
    /// The connection failed for good.
    #[error(
        "cannot download {url}: {problem} (tried {attempts} times; what came so far is kept, \
        so run this again to continue)"
    )]
    Connection { url: String, problem: String, attempts: u32 },
    /// Python's package installer is not there or failed.
    #[error("{0}")]
    Pip(String),
    /// A package is not as the catalogue describes it.
    #[error("package {package}: {problem}")]
    Package { package: String, problem: String },
    /// A benchmark found an answer that is wrong, or a report that is none or is worse than another.
    #[error("{0}")]
    Benchmark(String),
    /// The text is too short for what was asked.
    #[error("{0}")]
    Text(String),
}

impl Error {
    /// A closure for `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::File { action, path, source }
    }

    /// The reader of our output went away, as `head` does: nothing to complain about.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Stream { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The message, on one line whatever a path or a server put into it.
    pub(crate) fn one_line(&self) -> String {
        let message = self.to_string();
        message
            .split(|c: char| c.is_control())
            .filter(|part| !part.trim().is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": free some space, or choose another folder (EDGELLM_HOME moves the cache)"
        }
        _ => "",
    }
}

fn advice_for_write(source: &edgellm::format::WriteError) -> &'static str {
    match source {
        edgellm::format::WriteError::Io(source) => advice(source),
        _ => "",
    }
}

fn near(similar: &[&str]) -> String {
    match similar {
        [] => String::new(),
        names => format!(" (did you mean {}?)", names.join(" or ")),
    }
}
