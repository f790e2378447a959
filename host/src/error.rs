//! The error type of the program. Every message says what failed, with its values, and what to do.

use crate::checksum::Checksum;
use crate::reference::Malformed;
use edgellm::text::printable;
use std::borrow::Cow;
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
    /// The model file cannot be used.
    #[error("{}: {source}", path.display())]
    Model { path: PathBuf, source: edgellm::Error },
    /// A source cannot be converted.
    #[error("{}: {source}", path.display())]
    Convert { path: PathBuf, source: edgellm_quantize::QuantizeError },
    /// A model cannot be exported.
    #[error("{}: {source}", path.display())]
    Export { path: PathBuf, source: edgellm_quantize::export::ExportError },
    /// An importance matrix cannot be used.
    #[error("{}: {source}", path.display())]
    Importance { path: PathBuf, source: edgellm_quantize::ImportanceError },
    /// A file is no calibration text.
    #[error("{}: {source}", path.display())]
    Calibration { path: PathBuf, source: edgellm_quantize::CalibrationTextError },
    /// A file of one's own is no text to measure on.
    #[error("{} (--validate): {source}", path.display())]
    Validation { path: PathBuf, source: edgellm_quantize::CalibrationTextError },
    /// A source was converted, but the engine does not open the result.
    #[error(
        "{}: the converted model cannot be opened ({source}), so it was not kept: choose another file or another model",
        path.display()
    )]
    Unusable { path: PathBuf, source: edgellm::Error },
    /// A model file of the cache cannot be used, and was removed.
    #[error("{}: {source}; it was removed from the cache: run this again, to convert the model anew", path.display())]
    Discarded { path: PathBuf, source: edgellm::Error },
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
    /// The model file cannot be used in the sandbox.
    #[cfg(feature = "plugin")]
    #[error("{}: {source}", path.display())]
    PluginModel { path: PathBuf, source: edgellm_plugin_host::Error },
    /// The chat template cannot be used, or rejects the messages.
    #[error(transparent)]
    Chat(#[from] edgellm::chat::ChatError),
    /// A sampling option is out of range.
    #[error(transparent)]
    Sampler(#[from] edgellm::sampler::SamplerError),
    /// The file does not exist.
    #[error("there is no file {}", path.display())]
    NoSuchFile { path: PathBuf },
    /// A file or directory is not used because of what others could do with it.
    #[error(transparent)]
    Unsafe(edgellm_files::Error),
    /// A symbolic link in a model's directory.
    #[error(
        "{} is a symbolic link to {}, outside the model's directory: if it is yours, copy the file there",
        link.display(), target.display()
    )]
    LeadsOut { link: PathBuf, target: PathBuf },
    /// A file of the wrong kind, such as a directory, device or pipe.
    #[error("{} is {found}: {advice}", path.display())]
    WrongKind { path: PathBuf, found: &'static str, advice: &'static str },
    /// A name that is neither in the catalogue nor a path.
    #[error(
        "there is no model {name:?}{}; `edgellm list` shows all of them, and a path works too",
        near(similar)
    )]
    UnknownModel { name: String, similar: Vec<&'static str> },
    /// A name that begins as one of the hub.
    #[error(
        "{name:?} is no name of a model of the hub: {problem}; write hf:OWNER/REPO, hf:OWNER/REPO:Q4_K_M or \
        hf:OWNER/REPO:FILE.gguf, and @REVISION behind it if it is not main"
    )]
    HubName { name: String, problem: Malformed },
    /// An invalid option or combination of options.
    #[error("{0}")]
    Usage(String),
    /// There is no directory for the cache.
    #[error("this system has no cache directory: set EDGELLM_HOME to a directory that edgellm may write to")]
    NoCacheFolder,
    /// `EDGELLM_HOME` is relative.
    #[error(
        "EDGELLM_HOME is {}, which depends on the current directory: set it to an absolute path", path.display()
    )]
    RelativeCache { path: PathBuf },
    /// A download has the wrong checksum.
    #[error(
        "{what} is damaged: its checksum is {actual}, not {expected}; the file was removed, so run this again"
    )]
    WrongChecksum { what: String, expected: Checksum, actual: Checksum },
    /// A download has the wrong length.
    #[error("{what} has {actual} bytes instead of {expected}; the file was removed, so run this again")]
    WrongLength { what: String, expected: u64, actual: u64 },
    /// A server did not return the file.
    #[error("{url}: {problem}")]
    Server { url: String, problem: String },
    /// The connection failed repeatedly.
    #[error(
        "cannot download {url}: {problem} (after {attempts} attempts; run this again \
        to resume the download)"
    )]
    Connection { url: String, problem: String, attempts: u32 },
    /// Python's package installer is missing or failed.
    #[error("{0}")]
    Pip(String),
    /// A package does not match its description in the catalogue.
    #[error("package {package}: {problem}")]
    Package { package: String, problem: String },
    /// Python, or a script that runs in it, failed.
    #[error("{0}")]
    Python(String),
    /// Ctrl-C, after what could be kept was kept.
    #[error("interrupted; --resume goes on")]
    Interrupted,
    /// A benchmark found a wrong answer, an invalid report, or a report that is worse than another.
    #[error("{0}")]
    Benchmark(String),
    /// There is not enough memory for what was asked.
    #[error("{0}")]
    Memory(String),
    /// The text is too short for what was asked.
    #[error("{0}")]
    Text(String),
}

impl Error {
    /// A closure for `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_path_buf();
        move |source| Error::File { action, path, source }
    }

    /// A closure for `map_err` on standard input and output.
    pub(crate) fn stream(action: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Stream { action, source }
    }

    /// Whether the reader of the output has closed it, as `head` does. That is not worth a message.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Error::Stream { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The message on one line, whatever a path, a file or a server put into it.
    pub(crate) fn one_line(&self) -> String {
        let message = self.to_string();
        let parts = message.split(['\n', '\r', '\t']).filter(|part| !part.trim().is_empty());
        let line = parts.collect::<Vec<_>>().join(" ");
        printable(&without_middle(&line), usize::MAX).into_owned()
    }
}

impl From<edgellm_files::Error> for Error {
    fn from(error: edgellm_files::Error) -> Self {
        match error {
            edgellm_files::Error::Io { action, path, source } => Error::File { action, path, source },
            edgellm_files::Error::Missing { path } => Error::NoSuchFile { path },
            edgellm_files::Error::NotAFile { path, found } => {
                Error::WrongKind { path, found, advice: "give the name of a file" }
            }
            other => Error::Unsafe(other),
        }
    }
}

/// A text that is too long to read, without its middle: what failed is at the start, and what to do at the end.
pub(crate) fn without_middle(text: &str) -> Cow<'_, str> {
    const START: usize = 1500;
    const END: usize = 500;
    if text.len() <= START + END {
        return Cow::Borrowed(text);
    }
    let (start, end) = (text.floor_char_boundary(START), text.ceil_char_boundary(text.len() - END));
    Cow::Owned(format!("{} […] {}", &text[..start], &text[end..]))
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": free some space, or choose another directory (EDGELLM_HOME moves the cache)"
        }
        io::ErrorKind::InvalidData if source.to_string().contains("UTF-8") => {
            ": convert it to UTF-8, for example with iconv"
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
