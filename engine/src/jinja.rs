//! Jinja, as Python's jinja2 renders it for chat templates.
//!
//! The dialect is that of Hugging Face's transformers: a sandboxed environment with `trim_blocks` and `lstrip_blocks`,
//! loop controls and `{% generation %}`, in which values have the methods, operators and texts of Python's. Two things
//! are not Python's: what a template computes is limited, and every string knows which of its characters came with the
//! input, however they were trimmed, split and joined since.
//!
//! What no chat template needs is missing: other templates (`include`, `import`, `extends`), and the filters `random`,
//! `wordwrap`, `urlize`, `xmlattr` and `filesizeformat`. Filters, ranges and the views of maps
//! are lists, also where they are written; Python's are objects of their own.

mod access;
mod arguments;
mod ast;
mod checks;
mod equality;
mod error;
mod filters;
mod format;
mod fuel;
mod interpreter;
mod lexer;
mod methods;
mod operators;
mod parser;
mod repr;
mod sequences;
#[cfg(test)]
mod tests;
mod text;
mod tojson;
mod value;

pub(crate) use error::Error;
pub(crate) use fuel::MAX_MEMORY;
pub(crate) use text::{MAX_TEXT, Text};
pub(crate) use value::{Float, Key, Value};

use fuel::Fuel;
use std::collections::HashSet;

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    body: ast::Block,
    /// The variables that it reads.
    names: HashSet<ast::Name>,
}

/// Longest template, in bytes; the longest of well-known models have some 20 KiB.
const MAX_SOURCE: usize = 256 << 10;

/// Longest message of an error, in characters.
const MAX_MESSAGE: usize = 1000;

/// The variables that a template sees.
pub(crate) type Variables = Vec<(&'static str, Value)>;

/// Formats the time as `strftime`; an error is a message.
pub(crate) type Clock<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`Error::Failed`] if its syntax is wrong, or it is too long.
    pub(crate) fn new(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_SOURCE {
            let length = source.len();
            return error::fail(format!("the template has {length} bytes, which is more than {MAX_SOURCE}"));
        }
        match parser::parse(source) {
            Ok((body, names)) => Ok(Template { body, names }),
            Err(Error::Failed(message)) => error::fail(error::excerpt(&message, MAX_MESSAGE)),
            Err(error) => Err(error),
        }
    }

    /// Whether it reads a variable of this name.
    pub(crate) fn reads(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Renders it with these variables; without a clock, there is no `strftime_now`.
    ///
    /// # Errors
    /// If it fails, raises an exception, or needs more than `fuel` steps.
    pub(crate) fn render(
        &self,
        variables: Variables,
        clock: Option<Clock<'_>>,
        fuel: u64,
    ) -> Result<Text, Error> {
        interpreter::render(&self.body, variables, clock, &Fuel::new(fuel))
    }
}
