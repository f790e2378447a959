//! From a template's source to tokens, with the whitespace rules of `trim_blocks` and `lstrip_blocks`.

use super::error::{Result, fail};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text between the tags.
    Data(Arc<str>),
    /// `{%`
    BlockBegin,
    /// `%}`
    BlockEnd,
    /// `{{`
    PrintBegin,
    /// `}}`
    PrintEnd,
    Name(Arc<str>),
    Str(Arc<str>),
    Int(i128),
    Float(f64),
    Operator(&'static str),
    End,
}

/// Longer operators before those that they begin with.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

/// The tokens of a source, each with its line.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, u32)>> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, line_starts: true, out: Vec::new() };
    lexer.text()?;
    lexer.push(Token::End);
    Ok(lexer.out)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    /// Whether the last tag ended with a newline, so that the text after it begins a line.
    line_starts: bool,
    out: Vec<(Token, u32)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Block,
    Print,
    Comment,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, token: Token) {
        self.out.push((token, self.line));
    }

    /// Moves on by `length` bytes and returns them.
    fn take(&mut self, length: usize) -> &'a str {
        let taken = &self.rest()[..length];
        self.at += length;
        self.line += taken.matches('\n').count() as u32;
        taken
    }

    fn skip_whitespace(&mut self) {
        let rest = self.rest();
        self.take(rest.len() - rest.trim_start().len());
    }

    fn error<T>(&self, message: &str) -> Result<T> {
        fail(format!("syntax error in line {}: {message}", self.line))
    }

    /// Text and tags up to the end.
    fn text(&mut self) -> Result<()> {
        while self.at < self.source.len() {
            let rest = self.rest();
            let Some((length, tag)) = next_tag(rest) else {
                let data = self.take(rest.len());
                self.data(data);
                break;
            };
            let data = self.take(length);
            let sign = rest[length + 2..].bytes().next().filter(|sign| b"-+".contains(sign));
            let data = self.stripped(data, tag, sign);
            self.data(data);
            let opening = self.line;
            self.take(2 + usize::from(sign.is_some()));
            self.line_starts = false;
            match tag {
                Tag::Comment => self.comment()?,
                Tag::Block if self.is_raw("raw") => self.raw()?,
                Tag::Block => {
                    self.out.push((Token::BlockBegin, opening));
                    self.expression(tag)?;
                    self.push(Token::BlockEnd);
                }
                Tag::Print => {
                    self.out.push((Token::PrintBegin, opening));
                    self.expression(tag)?;
                    self.push(Token::PrintEnd);
                }
            }
        }
        Ok(())
    }

    fn data(&mut self, data: &str) {
        if !data.is_empty() {
            self.push(Token::Data(data.into()));
        }
    }

    /// The text before a tag without the whitespace that the tag strips.
    fn stripped(&self, data: &'a str, tag: Tag, sign: Option<u8>) -> &'a str {
        match sign {
            Some(b'-') => data.trim_end(),
            None if tag != Tag::Print => {
                let line = data.rfind('\n').map_or(0, |at| at + 1);
                let indent = &data[line..];
                let is_line = line > 0 || self.line_starts;
                if is_line && indent.trim().is_empty() { &data[..line] } else { data }
            }
            _ => data,
        }
    }

    /// Takes the end of a tag if it is here: `-` strips the whitespace after it, and without `+` a newline is part of
    /// blocks and comments.
    fn end(&mut self, end: &str, newline: bool) -> bool {
        let rest = self.rest();
        let before = self.at;
        if rest.starts_with('-') && rest[1..].starts_with(end) {
            self.take(1 + end.len());
            self.skip_whitespace();
        } else if newline && rest.starts_with('+') && rest[1..].starts_with(end) {
            self.take(1 + end.len());
        } else if let Some(after) = rest.strip_prefix(end) {
            self.take(end.len() + usize::from(newline && after.starts_with('\n')));
        } else {
            return false;
        }
        self.line_starts = self.source[before..self.at].ends_with('\n');
        true
    }

    fn comment(&mut self) -> Result<()> {
        while !self.end("#}", true) {
            let Some(c) = self.rest().chars().next() else { return self.error("a comment has no end") };
            self.take(c.len_utf8());
        }
        Ok(())
    }

    /// Whether the tag that has begun is `word` and nothing else.
    fn is_raw(&self, word: &str) -> bool {
        let after = self.rest().trim_start().strip_prefix(word).map(str::trim_start);
        after.is_some_and(|after| ["%}", "-%}", "+%}"].iter().any(|end| after.starts_with(end)))
    }

    /// `raw %}` up to the end of `{% endraw %}`.
    fn raw(&mut self) -> Result<()> {
        self.skip_whitespace();
        self.take("raw".len());
        self.skip_whitespace();
        if !self.end("%}", false) {
            return self.error("{% raw +%} is not supported");
        }
        let mut from = 0;
        loop {
            let rest = self.rest();
            let Some(length) = rest[from..].find("{%").map(|at| from + at) else {
                return self.error("{% raw %} has no {% endraw %}");
            };
            let sign = rest[length + 2..].bytes().next().filter(|sign| b"-+".contains(sign));
            let tag = length + 2 + usize::from(sign.is_some());
            let end = Lexer { at: self.at + tag, out: Vec::new(), ..*self };
            if !end.is_raw("endraw") {
                from = length + 2;
                continue;
            }
            let data = self.take(length);
            let data = self.stripped(data, Tag::Block, sign);
            self.data(data);
            self.take(tag - length);
            self.skip_whitespace();
            self.take("endraw".len());
            self.skip_whitespace();
            self.end("%}", true);
            return Ok(());
        }
    }

    /// The tokens of an expression and the end of its tag.
    fn expression(&mut self, tag: Tag) -> Result<()> {
        let mut open: Vec<&str> = Vec::new();
        loop {
            let found = match tag {
                _ if !open.is_empty() => false,
                Tag::Print => self.end("}}", false),
                _ => self.end("%}", true),
            };
            if found {
                return Ok(());
            }
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return self.error("a tag has no end") };
            if first.is_whitespace() {
                self.skip_whitespace();
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if first == '_' || first.is_alphabetic() {
                let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                let name = self.take(length);
                self.push(Token::Name(name.into()));
            } else if first == '"' || first == '\'' {
                self.string(first)?;
            } else {
                let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) else {
                    return self.error(&format!("unexpected {first:?}"));
                };
                match operator {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" if open.pop() != Some(operator) => {
                        return self.error(&format!("unexpected {operator:?}"));
                    }
                    _ => {}
                }
                self.take(operator.len());
                self.push(Token::Operator(operator));
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let digits = |text: &str| {
            let length = text.find(|c: char| c != '_' && !c.is_ascii_digit()).unwrap_or(text.len());
            text[..length].trim_end_matches('_').len()
        };
        let radix = match rest.as_bytes() {
            [b'0', b'x' | b'X', ..] => 16,
            [b'0', b'o' | b'O', ..] => 8,
            [b'0', b'b' | b'B', ..] => 2,
            _ => 10,
        };
        if radix != 10 {
            let length = rest[2..]
                .find(|c: char| c != '_' && !c.is_digit(radix))
                .map_or(rest.len(), |length| 2 + length);
            let number = i128::from_str_radix(&self.take(length)[2..].replace('_', ""), radix);
            let Ok(number) = number else { return self.error("a number is too large or incomplete") };
            self.push(Token::Int(number));
            return Ok(());
        }
        let whole = digits(rest);
        let mut length = whole;
        // In `a.0.1` the numbers are two indices.
        if !self.source[..self.at].ends_with('.') {
            if rest[length..].starts_with('.') && digits(&rest[length + 1..]) > 0 {
                length += 1 + digits(&rest[length + 1..]);
            }
            let exponent = &rest[length..];
            if exponent.starts_with(['e', 'E']) {
                let sign = usize::from(exponent[1..].starts_with(['+', '-']));
                let power = digits(&exponent[1 + sign..]);
                length += if power > 0 { 1 + sign + power } else { 0 };
            }
        }
        let number = self.take(length).replace('_', "");
        if length == whole {
            let Ok(number) = number.parse() else { return self.error("a number is too large") };
            self.push(Token::Int(number));
        } else {
            let Ok(number) = number.parse() else { return self.error("a number is malformed") };
            self.push(Token::Float(number));
        }
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                let line = self.line;
                let text = unescaped(&self.take(at + 1)[1..at]);
                let Some(text) = text else {
                    return self.error("a string has an escape sequence that is incomplete or not supported");
                };
                self.out.push((Token::Str(text.into()), line));
                return Ok(());
            }
        }
        self.error("a string has no end")
    }
}

/// The first tag of a text: where it begins, and its kind.
fn next_tag(text: &str) -> Option<(usize, Tag)> {
    text.match_indices('{').find_map(|(at, _)| {
        let tag = match text.as_bytes().get(at + 1)? {
            b'%' => Tag::Block,
            b'{' => Tag::Print,
            b'#' => Tag::Comment,
            _ => return None,
        };
        Some((at, tag))
    })
}

/// A string literal's text with Python's escape sequences replaced; `None` if one is incomplete or not supported.
fn unescaped(literal: &str) -> Option<String> {
    let mut out = String::with_capacity(literal.len());
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let hexadecimal = |chars: &mut std::str::Chars<'_>, digits: usize| {
            let code: String = chars.by_ref().take(digits).collect();
            (code.len() == digits).then(|| u32::from_str_radix(&code, 16).ok().and_then(char::from_u32))?
        };
        match chars.next()? {
            '\n' => {}
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            quote @ ('\\' | '\'' | '"') => out.push(quote),
            // Characters by their names would take a table of all of them.
            'N' => return None,
            'x' => out.push(hexadecimal(&mut chars, 2)?),
            'u' => out.push(hexadecimal(&mut chars, 4)?),
            'U' => out.push(hexadecimal(&mut chars, 8)?),
            digit @ '0'..='7' => {
                let mut code = digit.to_digit(8)?;
                for _ in 0..2 {
                    let Some(more) = chars.clone().next().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + more;
                    chars.next();
                }
                out.push(char::from_u32(code)?);
            }
            other => out.extend(['\\', other]),
        }
    }
    Some(out)
}
