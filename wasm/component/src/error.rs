//! The error of the components.

use edgellm::chat::ChatError;
use edgellm::sampler::SamplerError;

/// Why a component cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path outside the folders that the host gave, or nothing there.
    #[error(
        "there is no file {path:?} in the folders given to this component ({folders}): check the name, or give its folder"
    )]
    NotFound {
        /// As asked for.
        path: String,
        /// Guest names of the folders.
        folders: String,
    },
    /// The host failed to read a file.
    #[error("cannot read {path:?}: {reason}")]
    Read {
        /// As asked for.
        path: String,
        /// WASI's error, or the host's.
        reason: String,
    },
    /// A file that 32-bit WebAssembly cannot hold.
    #[error(
        "the model file has {bytes} bytes, but 32-bit WebAssembly (wasm32) addresses at most 4 GiB, of which \
         {limit} bytes are for the file: choose a smaller model or format, or run it natively"
    )]
    TooLarge {
        /// Length of the file.
        bytes: u64,
        /// Length of the longest supported file.
        limit: u64,
    },
    /// The host's memory limit leaves no room for the file.
    #[error("the sandbox has no memory for a model file of {bytes} bytes: raise its memory limit")]
    Memory {
        /// Length of the file.
        bytes: u64,
    },
    /// The pieces do not add up to the announced file.
    #[error(
        "a model file of {expected} bytes was announced, but {given} bytes came: write all of its pieces, in order"
    )]
    Pieces {
        /// Announced length.
        expected: u64,
        /// Bytes so far.
        given: u64,
    },
    /// The session was used by something else during a generation.
    #[error(
        "the session is at position {found}, but this generation left it at {expected}: finish one generation before using the session otherwise"
    )]
    Interrupted {
        /// Where the generation left it.
        expected: usize,
        /// Where it is.
        found: usize,
    },
    /// The model has no chat template.
    #[error("the model has no chat template: pass text instead of messages, or choose an instruct model")]
    NoTemplate,
    /// The template cannot be used, or refuses the messages.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A sampler option is out of range.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The engine refused the file, an option or a step.
    #[error(transparent)]
    Engine(#[from] edgellm::Error),
}
