//! `str` and `repr` of Python.

use super::error::Result;
use super::text::TextBuilder;
use super::value::{Float, Function, Map, Value};

/// Appends what `{{ value }}` writes.
pub(super) fn write_str(out: &mut TextBuilder<'_>, value: &Value) -> Result<()> {
    match value {
        Value::Str(text) => out.push(text),
        Value::Undefined(_) => {}
        other => write_repr(out, other)?,
    }
    Ok(())
}

/// Appends `repr(value)`.
pub(super) fn write_repr(out: &mut TextBuilder<'_>, value: &Value) -> Result<()> {
    let fuel = out.fuel();
    fuel.burn(1)?;
    fuel.inside(|| write_value(out, value))
}

fn write_value(out: &mut TextBuilder<'_>, value: &Value) -> Result<()> {
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(float) => out.push_str(&float_text(float)),
        Value::Str(text) => {
            let quote = if text.as_str().contains('\'') && !text.as_str().contains('"') { "\"" } else { "'" };
            out.push_str(quote);
            out.push_mapped(text, |c, out| escape(c, quote, out))?;
            out.push_str(quote);
        }
        Value::List(items) => {
            out.push_str("[");
            write_items(out, items)?;
            out.push_str("]");
        }
        Value::Tuple(items) => {
            out.push_str("(");
            write_items(out, items)?;
            out.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
        Value::Map(map) => write_map(out, map)?,
        Value::Namespace(map) => {
            out.push_str("<Namespace ");
            write_map(out, &map.borrow())?;
            out.push_str(">");
        }
        Value::Function(Function::Macro(definition, _)) => {
            out.push_str("<Macro '");
            out.push_str(&definition.name);
            out.push_str("'>");
        }
        Value::Function(_) => out.push_str("<function>"),
        Value::Loop(state) => {
            out.push_str(&format!("<LoopContext {}/{}>", state.index + 1, state.items.len()));
        }
    }
    Ok(())
}

fn write_items(out: &mut TextBuilder<'_>, items: &[Value]) -> Result<()> {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(out, item)?;
    }
    Ok(())
}

fn write_map(out: &mut TextBuilder<'_>, map: &Map) -> Result<()> {
    out.push_str("{");
    for (index, (key, item)) in map.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(out, &key.0)?;
        out.push_str(": ");
        write_repr(out, item)?;
    }
    out.push_str("}");
    Ok(())
}

/// Appends what stands for `c` between quotes.
fn escape(c: char, quote: &str, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if quote.starts_with(c) => out.extend(['\\', c]),
        c if is_printable(c) => out.push(c),
        c => out.push_str(&match u32::from(c) {
            code @ 0..=0xff => format!("\\x{code:02x}"),
            code @ 0x100..=0xffff => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        }),
    }
}

/// Python's `str.isprintable`, but for unassigned characters.
pub(super) fn is_printable(c: char) -> bool {
    let formatting = matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..);
    c == ' ' || !(c.is_control() || c.is_whitespace() || formatting || u32::from(c) & 0xfffe == 0xfffe)
}

/// `repr` of a float, or the digits that the input had.
pub(super) fn float_text(float: &Float) -> String {
    match &float.digits {
        Some(digits) => digits.to_string(),
        None => float_repr(float.value),
    }
}

/// Python's `repr` of a float: the shortest digits that mean it, and an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if value != 0.0 && !(1e-4..1e16).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}
