//! Why a template fails.

/// Why a template cannot be compiled or rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It is malformed, or asks for something that Python's Jinja refuses, too.
    Failed(String),
    /// The message of `raise_exception`.
    Raised(String),
    /// Its fuel is used up.
    OutOfFuel,
    /// Its values take too much memory.
    OutOfMemory,
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// An error with this message.
pub(super) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Failed(message.into()))
}

/// The first characters of a text.
pub(super) fn excerpt(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}
