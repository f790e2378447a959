//! Strings that know which of their characters came with the input, whatever was done to them since.

use super::error::Result;
use super::fuel::{BYTES_PER_UNIT, Fuel};
use std::ops::Range;
use std::sync::Arc;

/// An immutable string. Its characters are the template's own, or come from the input: from messages and tools.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: Arc<str>,
    /// The bytes that come from the input: ranges in order that do not touch.
    input: Vec<Range<usize>>,
    /// Whether it is HTML: `safe` and `escape` make it so, and then `+` escapes what it appends.
    html: bool,
}

impl Text {
    /// A string of the template.
    pub(crate) fn own(text: impl Into<Arc<str>>) -> Self {
        Text { text: text.into(), input: Vec::new(), html: false }
    }

    /// A string of the input.
    pub(crate) fn input(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let whole = 0..text.len();
        Text { text, input: if whole.is_empty() { Vec::new() } else { vec![whole] }, html: false }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text, and the bytes that come from the input.
    pub(crate) fn into_parts(self) -> (Arc<str>, Vec<Range<usize>>) {
        (self.text, self.input)
    }

    pub(super) fn is_html(&self) -> bool {
        self.html
    }

    pub(super) fn with_html(self, html: bool) -> Text {
        Text { html, ..self }
    }

    /// The text in HTML, unless it is HTML.
    pub(super) fn escaped(&self) -> Text {
        if self.html {
            return self.clone();
        }
        let escape = |c, out: &mut String| match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        };
        self.map(escape).with_html(true)
    }

    /// The bytes of `range`, whose ends must be those of characters.
    pub(super) fn slice(&self, range: Range<usize>) -> Text {
        let mut out = Parts::default();
        out.push_slice(self, range);
        out.finish().with_html(self.html)
    }

    /// Every character replaced by what `change` appends for it.
    pub(super) fn map(&self, mut change: impl FnMut(char, &mut String)) -> Text {
        let mut out = Parts::default();
        let mut ranges = self.input.iter().peekable();
        for (at, c) in self.text.char_indices() {
            let start = out.text.len();
            change(c, &mut out.text);
            if is_inside(&mut ranges, at) {
                out.mark(start..out.text.len());
            }
        }
        out.finish().with_html(self.html)
    }

    /// Its characters as strings of their own.
    pub(super) fn chars(&self) -> impl DoubleEndedIterator<Item = Text> {
        self.text.char_indices().map(|(at, c)| self.slice(at..at + c.len_utf8()))
    }
}

/// Whether the byte `at` lies in one of the ranges; later calls must not ask for earlier bytes.
fn is_inside<'a>(
    ranges: &mut std::iter::Peekable<impl Iterator<Item = &'a Range<usize>>>,
    at: usize,
) -> bool {
    while ranges.next_if(|range| range.end <= at).is_some() {}
    ranges.peek().is_some_and(|range| range.start <= at)
}

/// The parts of a new string.
#[derive(Debug, Default)]
struct Parts {
    text: String,
    input: Vec<Range<usize>>,
}

impl Parts {
    fn push_slice(&mut self, text: &Text, range: Range<usize>) {
        let start = self.text.len();
        self.text.push_str(&text.text[range.clone()]);
        let from = text.input.partition_point(|input| input.end <= range.start);
        for input in text.input[from..].iter().take_while(|input| input.start < range.end) {
            let (first, end) = (input.start.max(range.start), input.end.min(range.end));
            self.mark(start + first - range.start..start + end - range.start);
        }
    }

    fn mark(&mut self, range: Range<usize>) {
        match self.input.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.input.push(range),
        }
    }

    fn finish(self) -> Text {
        Text { text: self.text.into(), input: self.input, html: false }
    }
}

/// A string under construction, which is paid for as it grows.
#[derive(Debug)]
pub(super) struct TextBuilder<'f> {
    parts: Parts,
    fuel: &'f Fuel,
    /// The fuel's end: nothing more was appended since.
    failed: Result<()>,
}

impl<'f> TextBuilder<'f> {
    pub(super) fn new(fuel: &'f Fuel) -> Self {
        TextBuilder { parts: Parts::default(), fuel, failed: Ok(()) }
    }

    pub(super) fn fuel(&self) -> &'f Fuel {
        self.fuel
    }

    /// Pays for `bytes` more; `false` if that is not possible.
    fn pay(&mut self, bytes: usize) -> bool {
        let length = self.parts.text.len();
        let units = (length + bytes) / BYTES_PER_UNIT - length / BYTES_PER_UNIT;
        if self.failed.is_ok() {
            self.failed = self.fuel.burn(units);
        }
        self.failed.is_ok()
    }

    /// Appends text of the template.
    pub(super) fn push_str(&mut self, text: &str) {
        if self.pay(text.len()) {
            self.parts.text.push_str(text);
        }
    }

    pub(super) fn push(&mut self, text: &Text) {
        self.push_slice(text, 0..text.len());
    }

    pub(super) fn push_slice(&mut self, text: &Text, range: Range<usize>) {
        if self.pay(range.len()) {
            self.parts.push_slice(text, range);
        }
    }

    /// Whether it could be paid for so far.
    ///
    /// # Errors
    /// If the fuel is used up.
    pub(super) fn check(&self) -> Result<()> {
        self.failed.clone()
    }

    /// # Errors
    /// As [`TextBuilder::check`].
    pub(super) fn finish(self) -> Result<Text> {
        self.failed?;
        Ok(self.parts.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The string with its input in capital letters, which are the template's elsewhere.
    fn shown(text: &Text) -> String {
        let mut ranges = text.input.iter().peekable();
        text.as_str()
            .char_indices()
            .map(|(at, c)| if is_inside(&mut ranges, at) { c.to_ascii_uppercase() } else { c })
            .collect()
    }

    #[test]
    fn parts_keep_their_origin() {
        let fuel = Fuel::new(1);
        let mut out = TextBuilder::new(&fuel);
        out.push_str("ab");
        out.push(&Text::input("cdé"));
        out.push(&Text::input("f"));
        out.push_str("g");
        let text = out.finish().unwrap();
        assert_eq!(shown(&text), "abCDéFg");
        assert_eq!((text.input.len(), &text.input[0]), (1, &(2..7)));
        assert_eq!(shown(&text.slice(1..3)), "bC");
        assert!(text.slice(0..2).input.is_empty());
        assert_eq!(shown(&text.map(|c, out| out.extend([c, '-']))), "a-b-C-D-é-F-g-");
        let chars: Vec<String> = text.chars().rev().map(|c| shown(&c)).collect();
        assert_eq!(chars, ["g", "F", "é", "D", "C", "b", "a"]);
    }

    #[test]
    fn growth_is_paid_for() {
        let fuel = Fuel::new(2);
        let mut out = TextBuilder::new(&fuel);
        (0..2).for_each(|_| out.push(&Text::own("x".repeat(BYTES_PER_UNIT))));
        assert!(out.check().is_ok());
        out.push_str(&"x".repeat(BYTES_PER_UNIT));
        assert!(out.check().is_err() && out.finish().is_err());
    }
}
