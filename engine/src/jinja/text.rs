//! Strings that know which of their characters came with the input, whatever was done to them since.

use super::error::{Error, Result};
use super::fuel::{BYTES_PER_UNIT, Fuel, Held};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Longest text, in bytes.
pub(crate) const MAX_TEXT: usize = 8 << 20;
/// What a text takes beside its characters.
const TEXT_BYTES: usize = 192;

/// An immutable string. Its characters are the template's own, or come from the input: from messages and tools. Clones
/// share everything.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: Arc<str>,
    /// `None` if it stands in the template.
    origin: Option<Rc<Origin>>,
    /// Whether it is HTML: `safe` and `escape` make it so, and then `+` escapes what it appends.
    html: bool,
}

/// Where a text comes from.
#[derive(Debug, Default)]
struct Origin {
    /// The bytes that come from the input: ranges in order that do not touch.
    input: Vec<Range<usize>>,
    /// The memory of the text.
    _held: Held,
}

impl Text {
    /// A string of the template.
    pub(crate) fn own(text: impl Into<Arc<str>>) -> Self {
        Text { text: text.into(), origin: None, html: false }
    }

    /// A string of the input.
    pub(crate) fn input(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let input = Vec::from_iter((!text.is_empty()).then_some(0..text.len()));
        Text { text, origin: Some(Rc::new(Origin { input, ..Origin::default() })), html: false }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The string, which is shared.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    fn input_ranges(&self) -> &[Range<usize>] {
        self.origin.as_ref().map_or(&[], |origin| &origin.input)
    }

    /// The text, and the bytes that come from the input.
    pub(crate) fn into_parts(self) -> (Arc<str>, Vec<Range<usize>>) {
        let input = self.input_ranges().to_vec();
        (self.text, input)
    }

    pub(super) fn is_html(&self) -> bool {
        self.html
    }

    pub(super) fn with_html(self, html: bool) -> Text {
        Text { html, ..self }
    }

    /// The text in HTML, unless it is HTML.
    pub(super) fn escaped(&self, fuel: &Fuel) -> Result<Text> {
        if self.html {
            return Ok(self.clone());
        }
        let escape = |c, out: &mut String| match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        };
        Ok(self.map(fuel, escape)?.with_html(true))
    }

    /// The bytes of `range`, whose ends must be those of characters.
    pub(super) fn slice(&self, fuel: &Fuel, range: Range<usize>) -> Result<Text> {
        if range == (0..self.len()) {
            return Ok(self.clone());
        }
        let mut out = TextBuilder::new(fuel);
        out.push_slice(self, range);
        Ok(out.finish()?.with_html(self.html))
    }

    /// Every character replaced by what `change` appends for it.
    pub(super) fn map(&self, fuel: &Fuel, change: impl FnMut(char, &mut String)) -> Result<Text> {
        let mut out = TextBuilder::new(fuel);
        out.push_mapped(self, change)?;
        Ok(out.finish()?.with_html(self.html))
    }

    /// Its characters as strings of their own.
    pub(super) fn chars(&self, fuel: &Fuel) -> impl DoubleEndedIterator<Item = Result<Text>> {
        self.text.char_indices().map(|(at, c)| self.slice(fuel, at..at + c.len_utf8()))
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

/// A string under construction, which is paid for as it grows.
#[derive(Debug)]
pub(super) struct TextBuilder<'f> {
    text: String,
    input: Vec<Range<usize>>,
    held: Held,
    /// Bytes that were copied since fuel was last paid.
    unpaid: usize,
    fuel: &'f Fuel,
    /// The end of fuel or memory: nothing more was appended since.
    failed: Result<()>,
}

impl<'f> TextBuilder<'f> {
    pub(super) fn new(fuel: &'f Fuel) -> Self {
        let (held, failed) = match fuel.hold(TEXT_BYTES) {
            Ok(held) => (held, Ok(())),
            Err(error) => (Held::default(), Err(error)),
        };
        TextBuilder { text: String::new(), input: Vec::new(), held, unpaid: 0, fuel, failed }
    }

    pub(super) fn fuel(&self) -> &'f Fuel {
        self.fuel
    }

    /// Makes room for `bytes` more in `ranges` more ranges, and pays for copying them; `false` if that is not possible.
    fn pay(&mut self, bytes: usize, ranges: usize) -> bool {
        if self.failed.is_ok() {
            self.failed = self.try_pay(bytes, ranges);
        }
        self.failed.is_ok()
    }

    fn try_pay(&mut self, bytes: usize, ranges: usize) -> Result<()> {
        // A range takes 16 bytes, and a call some time.
        self.unpaid += 8 + bytes + 16 * ranges;
        self.fuel.burn(self.unpaid / BYTES_PER_UNIT)?;
        self.unpaid %= BYTES_PER_UNIT;
        let length = self.text.len() + bytes;
        if length > MAX_TEXT {
            return Err(Error::OutOfMemory);
        }
        let room = self.text.capacity();
        if length > room {
            let wanted = length.max(2 * room);
            self.held.grow(wanted - room)?;
            self.text.reserve_exact(wanted - self.text.len());
        }
        let (count, room) = (self.input.len() + ranges, self.input.capacity());
        if count > room {
            let wanted = count.max(2 * room);
            self.held.grow((wanted - room) * size_of::<Range<usize>>())?;
            self.input.reserve_exact(wanted - self.input.len());
        }
        Ok(())
    }

    /// Appends text of the template.
    pub(super) fn push_str(&mut self, text: &str) {
        if self.pay(text.len(), 0) {
            self.text.push_str(text);
        }
    }

    pub(super) fn push(&mut self, text: &Text) {
        self.push_slice(text, 0..text.len());
    }

    pub(super) fn push_slice(&mut self, text: &Text, range: Range<usize>) {
        let inputs = text.input_ranges();
        let from = inputs.partition_point(|input| input.end <= range.start);
        let to = from + inputs[from..].partition_point(|input| input.start < range.end);
        if !self.pay(range.len(), to - from) {
            return;
        }
        let start = self.text.len();
        self.text.push_str(&text.text[range.clone()]);
        for input in &inputs[from..to] {
            let (first, end) = (input.start.max(range.start), input.end.min(range.end));
            self.mark(start + first - range.start..start + end - range.start);
        }
    }

    /// Appends what `change` makes of every character.
    pub(super) fn push_mapped(
        &mut self,
        text: &Text,
        mut change: impl FnMut(char, &mut String),
    ) -> Result<()> {
        self.fuel.burn_characters(text.len())?;
        let mut ranges = text.input_ranges().iter().peekable();
        let mut changed = String::new();
        for (at, c) in text.text.char_indices() {
            changed.clear();
            change(c, &mut changed);
            let inside = is_inside(&mut ranges, at);
            if !self.pay(changed.len(), usize::from(inside)) {
                break;
            }
            let start = self.text.len();
            self.text.push_str(&changed);
            if inside {
                self.mark(start..self.text.len());
            }
        }
        self.check()
    }

    fn mark(&mut self, range: Range<usize>) {
        match self.input.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.input.push(range),
        }
    }

    /// Whether it could be paid for so far.
    ///
    /// # Errors
    /// If fuel or memory is used up.
    pub(super) fn check(&self) -> Result<()> {
        self.failed.clone()
    }

    /// # Errors
    /// As [`TextBuilder::check`].
    pub(super) fn finish(self) -> Result<Text> {
        self.failed?;
        let origin = Origin { input: self.input, _held: self.held };
        Ok(Text { text: self.text.into(), origin: Some(Rc::new(origin)), html: false })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuel::MAX_MEMORY;
    use super::*;

    /// The string with its input in capital letters, which are the template's elsewhere.
    fn shown(text: &Text) -> String {
        let mut ranges = text.input_ranges().iter().peekable();
        text.as_str()
            .char_indices()
            .map(|(at, c)| if is_inside(&mut ranges, at) { c.to_ascii_uppercase() } else { c })
            .collect()
    }

    #[test]
    fn parts_keep_their_origin() {
        let fuel = Fuel::new(100);
        let mut out = TextBuilder::new(&fuel);
        out.push_str("ab");
        out.push(&Text::input("cdé"));
        out.push(&Text::input("f"));
        out.push_str("g");
        let text = out.finish().unwrap();
        assert_eq!(shown(&text), "abCDéFg");
        assert_eq!(text.input_ranges(), std::slice::from_ref(&(2..7)));
        assert_eq!(shown(&text.slice(&fuel, 1..3).unwrap()), "bC");
        assert!(text.slice(&fuel, 0..2).unwrap().input_ranges().is_empty());
        assert_eq!(shown(&text.map(&fuel, |c, out| out.extend([c, '-'])).unwrap()), "a-b-C-D-é-F-g-");
        let chars: Vec<String> = text.chars(&fuel).rev().map(|c| shown(&c.unwrap())).collect();
        assert_eq!(chars, ["g", "F", "é", "D", "C", "b", "a"]);
    }

    #[test]
    fn growth_is_paid_for() {
        let fuel = Fuel::new(3);
        let mut out = TextBuilder::new(&fuel);
        (0..2).for_each(|_| out.push(&Text::own("x".repeat(BYTES_PER_UNIT))));
        assert!(out.check().is_ok());
        (0..2).for_each(|_| out.push_str(&"x".repeat(BYTES_PER_UNIT)));
        assert_eq!(out.finish().unwrap_err(), Error::OutOfFuel);
    }

    #[test]
    fn memory_is_paid_for_while_it_is_used() {
        let fuel = Fuel::new(u64::MAX);
        let text = |bytes| {
            let mut out = TextBuilder::new(&fuel);
            out.push_str(&"x".repeat(bytes));
            out.finish()
        };
        assert_eq!(text(MAX_TEXT + 1).unwrap_err(), Error::OutOfMemory);
        let most = MAX_MEMORY / (MAX_TEXT + TEXT_BYTES);
        // Again and again, since memory is given back.
        for _ in 0..2 {
            let texts: Vec<Text> = (0..most).map(|_| text(MAX_TEXT).unwrap()).collect();
            assert_eq!(text(MAX_TEXT).unwrap_err(), Error::OutOfMemory);
            assert_eq!(texts[0].clone().len(), MAX_TEXT);
        }
    }
}
