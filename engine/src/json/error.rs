//! What is wrong with a text, and where.

use serde::de::{self, Expected, Unexpected};
use std::fmt::Display;

/// JSON that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", prefix(path))]
pub struct JsonError {
    path: String,
    problem: String,
    cut_off: bool,
}

fn prefix(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

impl JsonError {
    /// A text that is not JSON.
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        JsonError { path: String::new(), problem: error.to_string(), cut_off: error.is_eof() }
    }

    /// The field that is wrong, such as `messages[0].role`; empty for the whole text.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Whether the text ends too early.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// The error of a value, as one of the field `name` around it.
    pub(super) fn in_field(mut self, name: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => name.to_string(),
            inner if inner.starts_with('[') => format!("{name}{inner}"),
            inner => format!("{name}.{inner}"),
        };
        self
    }

    /// The error of a value, as one of the list around it.
    pub(super) fn in_list(self, index: usize) -> Self {
        self.in_field(&format!("[{index}]"))
    }
}

impl de::Error for JsonError {
    fn custom<T: Display>(problem: T) -> Self {
        JsonError { path: String::new(), problem: problem.to_string(), cut_off: false }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Unit => Self::custom(format_args!("invalid type: null, expected {expected}")),
            found => Self::custom(format_args!("invalid type: {found}, expected {expected}")),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom("this field is missing").in_field(field)
    }
}
