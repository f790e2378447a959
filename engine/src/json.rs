//! JSON that other programs wrote: configurations, requests, options.
//!
//! It is read as those programs read it themselves:
//!
//! - a field that is null is absent;
//! - an integer may be written as a float, `4096.0`;
//! - of fields with the same name, the last one counts;
//! - Python's `NaN` and `Infinity` are no numbers, but no errors either in fields that are ignored;
//! - fields that the type does not know are ignored, unless it denies them.
//!
//! A field with two names is two optional fields in the type, which says which of them counts where both are given. What
//! `-1` means differs from field to field: [`limit`] is for those where it means none.
//!
//! ```
//! use edgellm::json;
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     hidden_size: usize,
//!     head_dim: Option<usize>,
//! }
//!
//! let config: Config = json::read(br#"{"head_dim": null, "hidden_size": 1, "hidden_size": 576.0, "x": []}"#)?;
//! assert_eq!((config.hidden_size, config.head_dim), (576, None));
//! let error = json::read::<Config>(br#"{"hidden_size": "wide"}"#).err().unwrap();
//! assert_eq!(error.path(), "hidden_size");
//! # Ok::<(), json::JsonError>(())
//! ```

mod constants;
mod error;
mod reader;
mod whole;

pub use error::JsonError;
pub use whole::{Whole, limit, limit_or_zero, or_default};

use reader::Reader;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads a text.
///
/// # Errors
/// [`JsonError`] names the field that is wrong.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, JsonError> {
    // As a tree first: only the whole object shows which of its fields count.
    from_value(&parse(json)?)
}

/// Reads a text as it is, for [`from_value`] and for who looks at its fields one by one.
///
/// # Errors
/// [`JsonError`] if it is not JSON.
pub fn parse(json: &[u8]) -> Result<Value, JsonError> {
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    serde_json::from_slice(json).or_else(|error| {
        let quoted = constants::quoted(json).and_then(|json| serde_json::from_slice(&json).ok());
        quoted.ok_or_else(|| JsonError::syntax(&error))
    })
}

/// Reads a value.
///
/// # Errors
/// [`JsonError`] names the field that is wrong.
pub fn from_value<'a, T: Deserialize<'a>>(value: &'a Value) -> Result<T, JsonError> {
    T::deserialize(Reader(value))
}

#[cfg(test)]
mod tests;
