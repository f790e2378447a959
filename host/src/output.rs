//! Standard output, whose reader may close it at any time.

use crate::error::{Error, Result};
use serde::Serialize;
use std::io::{self, Write as _};

/// A closure for `map_err` on writing to standard output.
pub(crate) fn failed(source: io::Error) -> Error {
    Error::Stream { action: "write to the standard output", source }
}

/// Writes `text` and flushes.
///
/// # Errors
/// If standard output fails.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(failed)
}

/// Writes `value` as indented JSON with a line break.
///
/// # Errors
/// If standard output fails.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| failed(error.into()))?;
    text.push('\n');
    print(&text)
}

/// Writes `value` as JSON on one line.
///
/// # Errors
/// If standard output fails.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(value).map_err(|error| failed(error.into()))?;
    text.push('\n');
    print(&text)
}

/// A human-readable number of bytes.
pub(crate) fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
