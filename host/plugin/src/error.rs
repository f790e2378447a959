//! What can go wrong between a host and its guest.

use crate::ErrorCode;
use std::path::PathBuf;
use std::time::Duration;

/// Why the plugin failed. After [`Error::Deadline`], [`Error::Cancelled`], [`Error::OutOfMemory`] and [`Error::Trap`]
/// the sandbox is over and answers [`Error::Over`]; the host and its other sandboxes go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the host's could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The bytes are no component, or one that wants more than the sandbox gives.
    #[error("this is not a component that EdgeLLM's sandbox can run: {reason}")]
    Component {
        /// What wasmtime says, with the import's name where one is missing.
        reason: String,
    },
    /// The guest answered with an error; the sandbox is well.
    #[error("{message}")]
    Guest {
        /// Its kind.
        code: ErrorCode,
        /// What is wrong, with names and numbers.
        message: String,
    },
    /// A call took too long and was stopped.
    #[error(
        "the guest was stopped after {limit:?}, the time that a call may take: raise the limit, or do not trust it"
    )]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// Somebody called [`crate::Cancel::cancel`].
    #[error("the guest was stopped, as was asked for")]
    Cancelled,
    /// The guest ended because it was refused memory.
    #[error(
        "the guest wanted {wanted} bytes of memory, and its limit is {limit}: raise the limit, or choose a smaller model or context"
    )]
    OutOfMemory {
        /// Linear memory and tables together, had they been given.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// The guest trapped: a bug of its own, or an attack that failed.
    #[error("the guest trapped: {reason}{}", note(output))]
    Trap {
        /// What the trap says.
        reason: String,
        /// What the guest wrote to its standard error, at most a few kilobytes.
        output: String,
    },
    /// The sandbox ended earlier.
    #[error("this sandbox is over ({reason}): open the model again")]
    Over {
        /// The error that ended it.
        reason: String,
    },
}

fn note(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(" ({})", output.trim_end()) }
}
