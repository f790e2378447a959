//! JSON as it was written: the order of fields and the digits of numbers matter to a template.

use indexmap::IndexMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// A JSON value that keeps the order of its fields and the digits of its numbers.
///
/// ```
/// use edgellm::chat::Json;
///
/// let text = r#"{"b":12345678901234567890123,"a":[1.10,"é"]}"#;
/// let value: Json = text.parse()?;
/// assert_eq!(value.to_string(), text);
/// # Ok::<(), edgellm::chat::NotJson>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Json {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(JsonNumber),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object. Of fields with the same name the last one counts.
    Object(IndexMap<String, Json>),
}

/// A number as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonNumber(Box<str>);

/// Text that is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {problem} at byte {at}")]
pub struct NotJson {
    /// What is wrong.
    pub problem: &'static str,
    /// Where.
    pub at: usize,
}

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 128;

impl JsonNumber {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Json {
    /// The field of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    /// An object with these fields.
    pub fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
        Json::Object(fields.map(|(name, value)| (name.to_string(), value)).into())
    }

    /// Approximate length of its text.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Json::Null | Json::Bool(_) => 8,
            Json::Number(number) => number.0.len(),
            Json::String(text) => 2 + text.len(),
            Json::Array(items) => 2 + items.iter().map(|item| 2 + item.bytes()).sum::<usize>(),
            Json::Object(fields) => {
                2 + fields.iter().map(|(name, item)| 6 + name.len() + item.bytes()).sum::<usize>()
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::String(text.to_string())
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Json {
        use serde_json::Value;
        match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Number(number) => Json::Number(JsonNumber(number.to_string().into())),
            Value::String(text) => Json::String(text),
            Value::Array(items) => Json::Array(items.into_iter().map(Json::from).collect()),
            Value::Object(fields) => {
                Json::Object(fields.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
        }
    }
}

/// Writes JSON without whitespace.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(number) => f.write_str(&number.0),
            Json::String(text) => write_string(f, text),
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { '[' } else { ',' })?;
                }
                f.write_str(if items.is_empty() { "[]" } else { "]" })
            }
            Json::Object(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_char(if index == 0 { '{' } else { ',' })?;
                    write_string(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str(if fields.is_empty() { "{}" } else { "}" })
            }
        }
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

impl FromStr for Json {
    type Err = NotJson;

    fn from_str(text: &str) -> Result<Json, NotJson> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_whitespace();
        if reader.at < text.len() { reader.fail("more text after the value") } else { Ok(value) }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fail<T>(&self, problem: &'static str) -> Result<T, NotJson> {
        Err(NotJson { problem, at: self.at })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_whitespace(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn skip(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, NotJson> {
        if depth > MAX_DEPTH {
            return self.fail("arrays and objects are nested too deeply");
        }
        self.skip_whitespace();
        match self.rest().bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.skip("null") => Ok(Json::Null),
            _ if self.skip("true") => Ok(Json::Bool(true)),
            _ if self.skip("false") => Ok(Json::Bool(false)),
            _ => self.fail("a value is missing"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.at += 1;
        let mut fields = IndexMap::new();
        self.skip_whitespace();
        while !self.skip("}") {
            if !fields.is_empty() && !self.skip(",") {
                return self.fail("a comma is missing");
            }
            self.skip_whitespace();
            let name = self.string()?;
            self.skip_whitespace();
            if !self.skip(":") {
                return self.fail("a colon is missing");
            }
            fields.insert(name, self.value(depth + 1)?);
            self.skip_whitespace();
        }
        Ok(Json::Object(fields))
    }

    fn array(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_whitespace();
        while !self.skip("]") {
            if !items.is_empty() && !self.skip(",") {
                return self.fail("a comma is missing");
            }
            items.push(self.value(depth + 1)?);
            self.skip_whitespace();
        }
        Ok(Json::Array(items))
    }

    fn number(&mut self) -> Result<Json, NotJson> {
        let start = self.at;
        self.skip("-");
        if !self.skip("0") && self.digits() == 0 {
            return self.fail("a number is incomplete");
        }
        if self.skip(".") && self.digits() == 0 {
            return self.fail("a number is incomplete");
        }
        if self.skip("e") || self.skip("E") {
            let _ = self.skip("+") || self.skip("-");
            if self.digits() == 0 {
                return self.fail("a number is incomplete");
            }
        }
        Ok(Json::Number(JsonNumber(self.text[start..self.at].into())))
    }

    fn digits(&mut self) -> usize {
        let rest = self.rest();
        let count = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        count
    }

    fn string(&mut self) -> Result<String, NotJson> {
        if !self.skip("\"") {
            return self.fail("a string is missing");
        }
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(length) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                return self.fail("a string has no end");
            };
            out.push_str(&rest[..length]);
            self.at += length;
            if self.skip("\"") {
                return Ok(out);
            }
            if !self.skip("\\") {
                return self.fail("a control character in a string");
            }
            let escape = self.rest().bytes().next();
            self.at += usize::from(escape.is_some_and(|byte| byte.is_ascii()));
            out.push(match escape {
                Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
                Some(b'n') => '\n',
                Some(b't') => '\t',
                Some(b'r') => '\r',
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'u') => self.escaped_char()?,
                _ => return self.fail("an unknown escape sequence"),
            });
        }
    }

    /// The character of `\uXXXX`, or of two of them that are a surrogate pair, after the first `\u`.
    fn escaped_char(&mut self) -> Result<char, NotJson> {
        let first = self.unit()?;
        let code = match first {
            0xd800..=0xdbff if self.skip("\\u") => match self.unit()? {
                second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                _ => return self.fail("half a surrogate pair"),
            },
            _ => first,
        };
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => self.fail("half a surrogate pair"),
        }
    }

    fn unit(&mut self) -> Result<u32, NotJson> {
        let digits =
            self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(unit) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.fail("an incomplete escape sequence");
        };
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_kept() {
        for text in [
            r#"{"z":1,"a":{"y":[],"x":{}},"b":null}"#,
            "[-0,1e400,1.10,12345678901234567890123,0.1E+5]",
            r#"["\"\\\n\u0001é😀",true,false]"#,
        ] {
            assert_eq!(text.parse::<Json>().unwrap().to_string(), text);
        }
        let value: Json = " { \"a\" : [ 1 , \"\\u00e9\\ud83d\\ude00\\/\" ] , \"a\" : 2 } ".parse().unwrap();
        assert_eq!(value.to_string(), r#"{"a":2}"#);
        assert_eq!(r#""\ud83d\ude00\/""#.parse::<Json>().unwrap().as_str(), Some("😀/"));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "{",
            "[1",
            "[1 2]",
            "{\"a\" 1}",
            "{a: 1}",
            "01",
            "1.",
            "1e",
            "-",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ud83dx\"",
            "\"\\u12\"",
            "\"\n\"",
            "1 2",
            "[,1]",
            "{,}",
            "\"\\é\"",
        ] {
            assert!(text.parse::<Json>().is_err(), "{text:?}");
        }
        assert!(("[".repeat(129) + &"]".repeat(129)).parse::<Json>().is_ok());
        assert!("[".repeat(1 << 20).parse::<Json>().is_err());
    }

    #[test]
    fn values_of_serde_json() {
        let value = serde_json::json!({"b": [1, 2.5, "x"], "a": null});
        assert_eq!(Json::from(value.clone()).to_string(), value.to_string());
    }
}
