//! `tojson` as Hugging Face's transformers define it: `json.dumps` of Python.

use super::arguments::Arguments;
use super::error::{Result, fail};
use super::fuel::Fuel;
use super::repr::float_text;
use super::text::{Text, TextBuilder};
use super::value::{Key, Value};

struct Writer<'f> {
    out: TextBuilder<'f>,
    ascii: bool,
    /// What one level is indented by, if values have lines of their own.
    indent: Option<Text>,
    item_separator: Text,
    key_separator: Text,
    sort_keys: bool,
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
///
/// # Errors
/// If the value is not JSON.
pub(super) fn to_json(fuel: &Fuel, value: &Value, arguments: Arguments) -> Result<Value> {
    let [ascii, indent, separators, sort_keys] =
        arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let is_set = |option: Option<Value>| option.is_some_and(|option| option.is_true());
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text),
        Some(width) => match width.as_int() {
            Some(width) => Some(Text::own(" ".repeat(width.clamp(0, 100) as usize))),
            None => return fail("tojson: indent is a number or a string"),
        },
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => (Text::own(if indent.is_some() { "," } else { ", " }), Text::own(": ")),
        Some(Value::List(pair) | Value::Tuple(pair)) => match &pair[..] {
            [Value::Str(item), Value::Str(key)] => (item.clone(), key.clone()),
            _ => return fail("tojson: separators are two strings"),
        },
        Some(_) => return fail("tojson: separators are two strings"),
    };
    let out = TextBuilder::new(fuel);
    let (ascii, sort_keys) = (is_set(ascii), is_set(sort_keys));
    let mut writer = Writer { out, ascii, indent, item_separator, key_separator, sort_keys };
    writer.value(value, 0)?;
    Ok(writer.out.finish()?.into())
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        let fuel = self.out.fuel();
        fuel.burn(1)?;
        fuel.inside(|| self.parts(value, depth))?;
        self.out.check()
    }

    fn parts(&mut self, value: &Value, depth: usize) -> Result<()> {
        match value {
            Value::None => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => self.out.push_str(&value.to_string()),
            Value::Float(float) => self.out.push_str(&match float_text(float).as_str() {
                "nan" => "NaN".to_string(),
                "inf" => "Infinity".to_string(),
                "-inf" => "-Infinity".to_string(),
                digits => digits.to_string(),
            }),
            Value::Str(text) => self.string(text)?,
            Value::List(items) | Value::Tuple(items) => {
                self.out.push_str("[");
                for (index, item) in items.iter().enumerate() {
                    self.separate(index, depth);
                    self.value(item, depth + 1)?;
                }
                self.close("]", items.is_empty(), depth);
            }
            Value::Map(map) => {
                let mut fields: Vec<(&Key, &Value)> = map.iter().collect();
                if self.sort_keys {
                    // Some 16 comparisons for each field.
                    let weight: u64 = map.keys().map(|key| key.0.weight()).sum();
                    self.out.fuel().burn_weight(16 * weight)?;
                    fields.sort_by(|(a, _), (b, _)| a.0.as_str().cmp(&b.0.as_str()));
                }
                self.out.push_str("{");
                for (index, (key, item)) in fields.into_iter().enumerate() {
                    self.separate(index, depth);
                    self.key(&key.0)?;
                    self.out.push(&self.key_separator.clone());
                    self.value(item, depth + 1)?;
                }
                self.close("}", map.is_empty(), depth);
            }
            other => return fail(format!("tojson: {:?} is no JSON", other.type_name())),
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        if let Value::Str(text) = key {
            return self.string(text);
        }
        self.out.push_str("\"");
        match key {
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => self.value(key, 0)?,
            other => return fail(format!("tojson: a key must not be {:?}", other.type_name())),
        }
        self.out.push_str("\"");
        Ok(())
    }

    fn string(&mut self, text: &Text) -> Result<()> {
        self.out.push_str("\"");
        let ascii = self.ascii;
        self.out.push_mapped(text, |c, out| escape(c, ascii, out))?;
        self.out.push_str("\"");
        Ok(())
    }

    /// What stands before the item `index`.
    fn separate(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(&self.item_separator.clone());
        }
        self.line(depth + 1);
    }

    fn close(&mut self, bracket: &str, empty: bool, depth: usize) {
        if !empty {
            self.line(depth);
        }
        self.out.push_str(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent.clone() {
            self.out.push_str("\n");
            (0..depth).for_each(|_| self.out.push(&indent));
        }
    }
}

/// Appends what stands for `c` in a JSON string.
fn escape(c: char, ascii: bool, out: &mut String) {
    let short = match c {
        '"' | '\\' => c,
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        c if u32::from(c) < 0x20 || (ascii && !(' '..='~').contains(&c)) => {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            return;
        }
        c => {
            out.push(c);
            return;
        }
    };
    out.extend(['\\', short]);
}
