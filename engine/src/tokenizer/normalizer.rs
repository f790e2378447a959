//! Normalizing: the `normalizer` of a tokenizer.json, as Hugging Face's library does it.

use super::TokenizerError;
use super::bounds::{COMPONENTS, CONTENT_BYTES, GROWTH, clip, component, read, within};
use super::byte_level::char_of;
use super::limit::Meter;
use super::pattern::{Pattern, PatternFile};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use unicode_normalization_alignments::UnicodeNormalization;
use unicode_normalization_alignments::char::is_combining_mark;

/// The steps of a normalizer.
#[derive(Debug, Default)]
pub(super) struct Normalizer(Vec<Step>);

#[derive(Debug)]
enum Step {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    Strip { left: bool, right: bool },
    StripAccents,
    Replace { pattern: Pattern, content: String },
    Prepend(String),
    ByteLevel,
}

/// The types that a file may name; the others of the library are not meant for BPE models.
const SUPPORTED: &str =
    "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, ByteLevel";

/// A normalizer as written, with the fields of all types.
#[derive(Deserialize)]
struct File<'a> {
    r#type: Option<String>,
    #[serde(borrow)]
    normalizers: Option<Vec<&'a RawValue>>,
    strip_left: Option<bool>,
    strip_right: Option<bool>,
    pattern: Option<PatternFile>,
    content: Option<String>,
    prepend: Option<String>,
}

impl Normalizer {
    /// Reads the `normalizer` of a tokenizer.json; `items` counts those of all patterns.
    ///
    /// # Errors
    /// A message that says what is not supported.
    pub(super) fn from_json(json: Option<&RawValue>, items: &mut usize) -> Result<Self, String> {
        let mut steps = Vec::new();
        if let Some(json) = component("normalizer", json)? {
            add(json, items, &mut steps)?;
        }
        let normalizer = Normalizer(steps);
        let growth = normalizer.0.iter().map(Step::growth).fold(1, usize::saturating_mul);
        let prepended =
            normalizer.0.iter().map(|step| if let Step::Prepend(text) = step { text.len() } else { 0 });
        within("normalizer's bytes before a text", prepended.sum(), CONTENT_BYTES)?;
        if growth > GROWTH {
            return Err(format!(
                "its normalizer makes a text up to {growth} times longer, the limit is {GROWTH}"
            ));
        }
        Ok(normalizer)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all characters are those of the byte-level alphabet in the end.
    pub(super) fn ends_in_bytes(&self) -> bool {
        matches!(self.0.last(), Some(Step::ByteLevel))
    }

    /// The most bytes of a text that one byte of its normalized form stands for; `None` where nothing bounds them.
    pub(super) fn shrinking(&self) -> Option<usize> {
        self.0.iter().try_fold(1_usize, |product, step| Some(product.saturating_mul(step.shrinking()?)))
    }

    /// Normalizes a text; with `origins`, says where each byte comes from.
    pub(super) fn run<'t>(
        &self,
        text: &'t str,
        origins: bool,
        meter: &Meter<'_>,
    ) -> Result<Normalized<'t>, TokenizerError> {
        let origins = (origins && !self.0.is_empty()).then(|| (0..text.len() as u32).collect());
        let mut normalized = Normalized { text: Cow::Borrowed(text), origins };
        for step in &self.0 {
            meter.look()?;
            if let Some(next) = step.run(&normalized, meter)? {
                normalized = next;
            }
        }
        Ok(normalized)
    }
}

/// Adds the steps of a component to those before it. The recursion is bounded by the depth of a component.
fn add(json: &str, items: &mut usize, steps: &mut Vec<Step>) -> Result<(), String> {
    let file: File<'_> = read("normalizer", json)?;
    let name = file.r#type.unwrap_or("without a type".into());
    let missing = |field: &str| format!("its normalizer {name} has no {field}");
    let step = match name.as_str() {
        "Sequence" => {
            let list = file.normalizers.ok_or_else(|| missing("normalizers"))?;
            return list.into_iter().try_for_each(|inner| add(inner.get(), items, steps));
        }
        "NFC" => Step::Nfc,
        "NFD" => Step::Nfd,
        "NFKC" => Step::Nfkc,
        "NFKD" => Step::Nfkd,
        "Lowercase" => Step::Lowercase,
        "Strip" => Step::Strip {
            left: file.strip_left.ok_or_else(|| missing("strip_left"))?,
            right: file.strip_right.ok_or_else(|| missing("strip_right"))?,
        },
        "StripAccents" => Step::StripAccents,
        "Replace" => {
            let content = file.content.ok_or_else(|| missing("content"))?;
            within("normalizer's bytes that replace others", content.len(), CONTENT_BYTES)?;
            Step::Replace {
                pattern: Pattern::new(file.pattern.ok_or_else(|| missing("pattern"))?, items)?,
                content,
            }
        }
        "Prepend" => Step::Prepend(file.prepend.ok_or_else(|| missing("prepend"))?),
        "ByteLevel" => Step::ByteLevel,
        _ => return Err(format!("its normalizer is {}, supported are {SUPPORTED}", clip(&name))),
    };
    steps.push(step);
    within("normalizers", steps.len(), COMPONENTS)
}

/// A normalized text.
pub(super) struct Normalized<'t> {
    pub(super) text: Cow<'t, str>,
    /// For each byte, where the character begins that it comes from; `None` if each byte is itself, or nobody asks.
    origins: Option<Vec<u32>>,
}

impl Normalized<'_> {
    /// Where the character begins that a byte comes from.
    pub(super) fn origin(&self, at: usize) -> usize {
        self.origins.as_ref().map_or(at, |origins| origins.get(at).map_or(0, |&origin| origin as usize))
    }

    /// An empty text that comes from this one.
    fn successor(&self) -> Writer<'_> {
        let origins = self.origins.as_ref().map(|origins| Vec::with_capacity(origins.len()));
        Writer { source: self, text: String::with_capacity(self.text.len()), origins }
    }

    /// A part of this text.
    fn part<'t>(&self, range: std::ops::Range<usize>) -> Normalized<'t> {
        Normalized {
            text: Cow::Owned(self.text[range.clone()].to_string()),
            origins: self.origins.as_ref().map(|origins| origins[range].to_vec()),
        }
    }
}

/// A normalized text in the making.
struct Writer<'s> {
    source: &'s Normalized<'s>,
    text: String,
    origins: Option<Vec<u32>>,
}

impl Writer<'_> {
    /// Appends a text that comes from the byte `from` of the source.
    fn push_str(&mut self, text: &str, from: usize) {
        self.text.push_str(text);
        if let Some(origins) = &mut self.origins {
            origins.resize(self.text.len(), self.source.origin(from) as u32);
        }
    }

    /// Appends a part of the source.
    fn copy(&mut self, range: std::ops::Range<usize>) {
        self.text.push_str(&self.source.text[range.clone()]);
        if let (Some(origins), Some(source)) = (&mut self.origins, &self.source.origins) {
            origins.extend_from_slice(&source[range]);
        }
    }

    fn push(&mut self, c: char, from: usize) {
        self.push_str(c.encode_utf8(&mut [0; 4]), from);
    }

    fn finish<'t>(self) -> Normalized<'t> {
        Normalized { text: Cow::Owned(self.text), origins: self.origins }
    }
}

impl Step {
    /// The normalized text, or `None` if nothing changes.
    fn run<'t>(
        &self,
        source: &Normalized<'_>,
        meter: &Meter<'_>,
    ) -> Result<Option<Normalized<'t>>, TokenizerError> {
        let text: &str = &source.text;
        let mut out = source.successor();
        match self {
            Step::Nfc | Step::Nfd | Step::Nfkc | Step::Nfkd if text.is_ascii() => return Ok(None),
            Step::Nfc => compose(text.nfc(), &mut out, meter)?,
            Step::Nfd => compose(text.nfd(), &mut out, meter)?,
            Step::Nfkc => compose(text.nfkc(), &mut out, meter)?,
            Step::Nfkd => compose(text.nfkd(), &mut out, meter)?,
            Step::Lowercase => {
                for (at, c) in text.char_indices() {
                    meter.step()?;
                    c.to_lowercase().for_each(|lower| out.push(lower, at));
                }
            }
            Step::Strip { left, right } => {
                let start = if *left { text.len() - text.trim_start().len() } else { 0 };
                let end = if *right { text.trim_end().len() } else { text.len() };
                return Ok(Some(source.part(start.min(end)..end)));
            }
            Step::StripAccents => {
                for (at, c) in text.char_indices().filter(|&(_, c)| !is_combining_mark(c)) {
                    meter.step()?;
                    out.push(c, at);
                }
            }
            Step::Replace { pattern, content } => {
                let mut from = 0;
                while let Some(found) = pattern.find(text, from, meter)? {
                    out.copy(from..found.start);
                    out.push_str(content, found.start);
                    from = found.end;
                }
                out.copy(from..text.len());
            }
            Step::Prepend(prepend) => {
                if !text.is_empty() {
                    out.push_str(prepend, 0);
                    out.copy(0..text.len());
                }
            }
            Step::ByteLevel => {
                for (at, byte) in text.bytes().enumerate() {
                    meter.step()?;
                    out.push(char_of(byte), at);
                }
            }
        }
        Ok(Some(out.finish()))
    }

    /// How many times longer it can make a text, besides what it adds at the beginning.
    fn growth(&self) -> usize {
        match self {
            Step::Nfc | Step::Nfd => 3,
            Step::Nfkc | Step::Nfkd => 11,
            Step::Lowercase | Step::ByteLevel => 2,
            Step::Replace { pattern, content } => content.len().div_ceil(pattern.least()).max(1),
            Step::Strip { .. } | Step::StripAccents | Step::Prepend(_) => 1,
        }
    }

    /// As [`Normalizer::shrinking`].
    fn shrinking(&self) -> Option<usize> {
        match self {
            // U+212A, three bytes, is K; U+1D400, four bytes, is A. Three letters of Hangul are one of the same length.
            Step::Nfc | Step::Nfd | Step::Nfkc | Step::Nfkd => Some(4),
            Step::Lowercase => Some(3),
            Step::Prepend(_) | Step::ByteLevel => Some(1),
            Step::Replace { pattern: Pattern::Text(text), content } if !content.is_empty() => {
                Some(text.len().div_ceil(content.len()))
            }
            Step::Replace { .. } | Step::Strip { .. } | Step::StripAccents => None,
        }
    }
}

/// Appends characters that a normal form yields: each with 1 if it is added, or the negated number of source characters
/// that it stands for besides one.
fn compose(
    chars: impl Iterator<Item = (char, isize)>,
    out: &mut Writer<'_>,
    meter: &Meter<'_>,
) -> Result<(), TokenizerError> {
    let mut places = out.source.text.char_indices();
    let mut at = 0;
    for (c, change) in chars {
        meter.step()?;
        if change <= 0 {
            at = places.next().map_or(at, |(at, _)| at);
            places.by_ref().take(change.unsigned_abs()).for_each(drop);
        }
        out.push(c, at);
    }
    Ok(())
}
