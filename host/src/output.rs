//! Standard output, whose reader may close it at any time.

use crate::error::{Error, Result};
use crate::terminal::{Filter, shown};
use edgellm::text::is_printable;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

/// A closure for `map_err` on writing to standard output.
pub(crate) fn failed(source: io::Error) -> Error {
    Error::stream("write to the standard output")(source)
}

/// Writes `text`, with whatever controls a terminal escaped, and flushes.
///
/// # Errors
/// If standard output fails.
pub(crate) fn print(text: &str) -> Result<()> {
    write(&shown(text))
}

/// Writes `text` as it is and flushes.
///
/// # Errors
/// If standard output fails.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(failed)
}

/// A model's answer on standard output.
#[derive(Debug)]
pub(crate) struct Answer {
    filter: Option<Filter>,
}

impl Answer {
    /// Its text is written as it is if `raw`, and into files and pipes; on a terminal, without what controls it.
    pub(crate) fn new(raw: bool) -> Self {
        Answer { filter: (!raw && io::stdout().is_terminal()).then(Filter::default) }
    }

    /// Writes the next piece of the answer.
    ///
    /// # Errors
    /// If standard output fails.
    pub(crate) fn print(&mut self, piece: &str) -> Result<()> {
        match &mut self.filter {
            None => write(piece),
            Some(filter) => write(&filter.pass(piece)),
        }
    }
}

/// Writes `value` as indented JSON with a line break.
///
/// # Errors
/// If standard output fails.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(error.into()))?;
    write(&escaped_json(&text))
}

/// Writes `value` as JSON on one line.
///
/// # Errors
/// If standard output fails.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| failed(error.into()))?;
    write(&escaped_json(&text))
}

/// JSON with a line break at its end, and with the control characters escaped that JSON allows in strings.
fn escaped_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        if character == '\n' || is_printable(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text.push('\n');
    text
}

/// Prints what the parser of the command line has to say: help, or what is wrong, which may hold any word of that line.
pub(crate) fn usage(message: &clap::Error) -> ExitCode {
    let text = message.to_string();
    if message.use_stderr() {
        eprint!("{}", shown(&text));
    } else if write(&text).is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(u8::MAX))
}

/// A number with two digits that count, for what is not known better.
pub(crate) fn two_digits(number: f64) -> String {
    let unit = 10f64.powf(number.abs().max(1e-9).log10().floor() - 1.0);
    let rounded = (number / unit).round() * unit;
    if unit < 1.0 { format!("{rounded:.1}") } else { format!("{rounded:.0}") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_left() {
        let found = [0.94, 1.06, 9.96, 37.4, 996.0, 1234.0].map(two_digits);
        assert_eq!(found, ["0.9", "1.1", "10.0", "37", "1000", "1200"]);
    }

    #[test]
    fn json_keeps_its_value_and_controls_nothing() {
        let value = "a\u{1b}\u{9b}\u{7f}\u{202e}\u{e0041}\n\"ü日";
        let text = escaped_json(&serde_json::to_string_pretty(&[value]).unwrap());
        assert!(text.chars().all(|character| character == '\n' || is_printable(character)), "{text:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), [value]);
    }
}
