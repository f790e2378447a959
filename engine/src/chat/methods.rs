//! Parts of Python that templates use: methods of strings and maps, and `json.dumps`. All of them consume fuel.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Bytes that one unit of fuel pays for, as in minijinja.
const BYTES_PER_FUEL: usize = 64;

/// Calls a Python method. minijinja-contrib implements them without fuel, so methods whose results can be much larger
/// than their inputs go to the filter of the same name, which consumes fuel in advance.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
        match (method, args) {
            ("replace", [old, new]) => {
                return state.apply_filter("replace", &[value.clone(), old.clone(), new.clone()]);
            }
            ("join", [list]) => return state.apply_filter("join", &[list.clone(), value.clone()]),
            // No known template formats with a width or counts replacements.
            ("replace" | "join" | "format", _) => return Err(ErrorKind::UnknownMethod.into()),
            _ => {}
        }
    } else if value.kind() == ValueKind::Seq || value.kind() == ValueKind::Map {
        state.consume_fuel(value.len().unwrap_or(0) as u64)?;
    }
    unknown_method_callback(state, value, method, args)
}

/// `json.dumps(value, ensure_ascii=False)` of Python.
pub(super) fn to_json(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    for name in ["ensure_ascii", "sort_keys"] {
        if options.get::<Option<bool>>(name)?.unwrap_or(false) {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("tojson with {name} is not supported"),
            ));
        }
    }
    options.assert_all_used()?;
    let mut paid = Paid { state, json: Vec::new(), refused: None };
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            serde::Serialize::serialize(&value, &mut Serializer::with_formatter(&mut paid, formatter))
        }
        None => {
            serde::Serialize::serialize(&value, &mut Serializer::with_formatter(&mut paid, PythonFormatter))
        }
    };
    let Paid { json, refused, .. } = paid;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let bad = |source| Error::new(ErrorKind::BadSerialization, "tojson").with_source(source);
    written.map_err(bad)?;
    String::from_utf8(json).map(Value::from_safe_string).map_err(|_| ErrorKind::BadSerialization.into())
}

/// A buffer that stops growing when the fuel is used up.
struct Paid<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    json: Vec<u8>,
    refused: Option<Error>,
}

impl Write for Paid<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let units = (self.json.len() + bytes.len()) / BYTES_PER_FUEL - self.json.len() / BYTES_PER_FUEL;
        if let Err(error) = self.state.consume_fuel(units as u64) {
            self.refused = Some(error);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.json.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A space after every comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
