//! A verdict on every field that clients send: what changes the answer is implemented or refused by name, never ignored.
//!
//! The tables list the fields of OpenAI's API, of llama.cpp's server and of vLLM. Fields that they do not list are ignored,
//! as with OpenAI.

mod tables;
#[cfg(test)]
mod tests;

use crate::error::ApiError;
use serde_json::Value;

/// A field of a request.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
}

/// What the server does with a field.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Reads and obeys it.
    Implemented,
    /// Nothing, since no answer depends on it.
    NoEffect,
    /// Refuses it by name, unless its value asks for what happens anyway.
    Refused {
        /// A JSON list of those values. Null counts as absent, and is always one.
        neutral: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// A request body.
pub(crate) trait Fields {
    /// The verdicts on its fields.
    const TABLES: &'static [&'static [Field]];

    /// The model that it names.
    fn model(&self) -> Option<&str>;
}

/// All fields of a request.
pub(crate) fn all<T: Fields>() -> impl Iterator<Item = &'static Field> {
    T::TABLES.iter().copied().flatten()
}

impl Field {
    /// The values with which a refused field is accepted; `None` for other fields.
    pub(crate) fn neutral(&self) -> Option<Vec<Value>> {
        let Verdict::Refused { neutral, .. } = self.verdict else { return None };
        let mut values: Vec<Value> = serde_json::from_str(neutral).unwrap_or_default();
        values.push(Value::Null);
        Some(values)
    }
}

/// Refuses a request with a field that the server does not support.
///
/// # Errors
/// 400 with the name of the first one.
pub(crate) fn check<T: Fields>(request: &Value) -> Result<(), ApiError> {
    for (name, value) in request.as_object().into_iter().flatten() {
        let Some(field) = all::<T>().find(|field| field.name == name) else { continue };
        let Verdict::Refused { instead, .. } = field.verdict else { continue };
        if !field.neutral().iter().flatten().any(|neutral| same(neutral, value)) {
            let message = format!("{name} is not supported: {instead}");
            return Err(ApiError::field(name.as_str(), message).code("unsupported_parameter"));
        }
    }
    Ok(())
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}
