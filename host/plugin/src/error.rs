//! Errors between a host and its guest.

use crate::bindings::exports::edgellm::inference::inference::ErrorCode;
use std::path::PathBuf;
use std::time::Duration;

/// Why the plugin failed. After [`Error::Deadline`], [`Error::Cancelled`], [`Error::OutOfMemory`] and [`Error::Trap`]
/// the sandbox is over and returns [`Error::Over`]; the host and other sandboxes are not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the host could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file or directory is not used because of what others could do with it: machine code that another user can change, or
    /// something that is no regular file.
    #[error(transparent)]
    Unsafe(edgellm_files::Error),
    /// The bytes are not a component, or it imports more than the sandbox offers.
    #[error("this is not a component that the sandbox can run: {reason}")]
    Component {
        /// The reason that wasmtime gives, such as the name of a missing import.
        reason: String,
    },
    /// The guest returned an error; the sandbox can go on.
    #[error("{message}")]
    Guest {
        /// Its kind.
        code: ErrorCode,
        /// What is wrong, with names and numbers.
        message: String,
    },
    /// A call took too long and was stopped.
    #[error(
        "the guest was stopped after {limit:?}, the time limit of a call: raise the limit if the component is trusted"
    )]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// The guest was stopped by [`Cancel::cancel`](crate::Cancel::cancel).
    #[error("the guest was cancelled")]
    Cancelled,
    /// The guest needed more memory than its limit and ended.
    #[error(
        "the guest needed {wanted} bytes of memory, but its limit is {limit}: raise the limit, or choose a smaller model or context"
    )]
    OutOfMemory {
        /// Linear memory and tables that it would have had in all.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// The guest trapped: by a bug, or in an attack that failed.
    #[error("the guest trapped: {reason}{}", note(output))]
    Trap {
        /// The reason of the trap.
        reason: String,
        /// What the guest wrote to standard error, at most a few kilobytes.
        output: String,
    },
    /// The sandbox ended earlier.
    #[error("this sandbox is over ({reason}): open the model again")]
    Over {
        /// The error that ended it.
        reason: String,
    },
}

impl From<edgellm_files::Error> for Error {
    fn from(error: edgellm_files::Error) -> Self {
        match error {
            edgellm_files::Error::Io { action, path, source } => Error::File { action, path, source },
            edgellm_files::Error::Missing { path } => {
                Error::File { action: "read", path, source: std::io::ErrorKind::NotFound.into() }
            }
            other => Error::Unsafe(other),
        }
    }
}

fn note(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(" ({})", output.trim_end()) }
}
