//! Splitting into words: the `pre_tokenizer` of a tokenizer.json, as Hugging Face's library does it.
//!
//! Words are parts of the text, found one after the other, so that a long text costs no memory.

mod behavior;

use super::TokenizerError;
use super::bounds::{COMPONENTS, SPLITTER_GROWTH, clip, component, read, within};
use super::byte_level::char_of;
use super::limit::Meter;
use super::pattern::{Pattern, PatternFile};
use behavior::{Behavior, Joiner};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;
use unicode_categories::UnicodeCategories;

/// The steps of a pre-tokenizer.
#[derive(Debug, Default)]
pub(super) struct Splitter(Vec<Step>);

#[derive(Debug)]
enum Step {
    Split { pattern: Pattern, behavior: Behavior, invert: bool },
    ByteLevel { add_prefix_space: bool, use_regex: bool },
    Digits { individual: bool },
    Metaspace { replacement: char, prepend: PrependScheme, split: bool },
    Whitespace,
    WhitespaceSplit,
    Punctuation(Behavior),
}

/// Where Metaspace puts its character before a text.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PrependScheme {
    First,
    Never,
    Always,
}

/// The types that a file may name.
const SUPPORTED: &str =
    "Sequence, ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation";

/// GPT-2's words.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
static GPT2_WORD: LazyLock<Option<Pattern>> = LazyLock::new(|| built_in(GPT2));
/// What Whitespace keeps.
static WORD: LazyLock<Option<Pattern>> = LazyLock::new(|| built_in(r"\w+|[^\w\s]+"));

/// A pattern of ours, which is known to be right.
fn built_in(pattern: &str) -> Option<Pattern> {
    Pattern::new(PatternFile::Regex(pattern.into()), &mut 0).ok()
}

/// A pre-tokenizer as written, with the fields of all types.
#[derive(Deserialize)]
struct File<'a> {
    r#type: Option<String>,
    #[serde(borrow)]
    pretokenizers: Option<Vec<&'a RawValue>>,
    pattern: Option<PatternFile>,
    behavior: Option<Behavior>,
    invert: Option<bool>,
    add_prefix_space: Option<bool>,
    use_regex: Option<bool>,
    individual_digits: Option<bool>,
    replacement: Option<char>,
    prepend_scheme: Option<PrependScheme>,
    split: Option<bool>,
}

impl Splitter {
    /// Reads the `pre_tokenizer` of a tokenizer.json; `items` counts those of all patterns.
    ///
    /// # Errors
    /// A message that says what is not supported.
    pub(super) fn from_json(json: Option<&RawValue>, items: &mut usize) -> Result<Self, String> {
        let mut steps = Vec::new();
        if let Some(json) = component("pre_tokenizer", json)? {
            add(json, items, &mut steps)?;
        }
        let growth = steps.iter().map(Step::growth).fold(1, usize::saturating_mul);
        within("pre_tokenizer's bytes for a byte of a word", growth, SPLITTER_GROWTH)?;
        Ok(Splitter(steps))
    }

    /// Whether all characters are those of the byte-level alphabet in the end.
    pub(super) fn ends_in_bytes(&self) -> bool {
        matches!(self.0.last(), Some(Step::ByteLevel { .. }))
    }

    /// Whether parts of a text can be in no word.
    pub(super) fn removes(&self) -> bool {
        self.0.iter().any(|step| match step {
            Step::Split { behavior, .. } | Step::Punctuation(behavior) => *behavior == Behavior::Removed,
            Step::Whitespace | Step::WhitespaceSplit => true,
            Step::ByteLevel { .. } | Step::Digits { .. } | Step::Metaspace { .. } => false,
        })
    }

    /// Whether it matters that a text comes first.
    pub(super) fn has_first(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Metaspace { prepend: PrependScheme::First, .. }))
    }

    /// Calls `word` with the words of a text; `first` if nothing comes before it.
    pub(super) fn run(
        &self,
        text: &str,
        first: bool,
        meter: &Meter<'_>,
        word: &mut dyn FnMut(&str) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        run(&self.0, text, first, meter, word)
    }
}

impl Step {
    /// How many times longer it can make a word.
    fn growth(&self) -> usize {
        match self {
            Step::ByteLevel { add_prefix_space, .. } => 2 + usize::from(*add_prefix_space),
            Step::Metaspace { replacement, prepend, .. } => {
                replacement.len_utf8() + usize::from(*prepend != PrependScheme::Never)
            }
            _ => 1,
        }
    }
}

/// Adds the steps of a component to those before it. The recursion is bounded by the depth of a component.
fn add(json: &str, items: &mut usize, steps: &mut Vec<Step>) -> Result<(), String> {
    let file: File<'_> = read("pre_tokenizer", json)?;
    let name = file.r#type.unwrap_or("without a type".into());
    let missing = |field: &str| format!("its pre_tokenizer {name} has no {field}");
    let step = match name.as_str() {
        "Sequence" => {
            let list = file.pretokenizers.ok_or_else(|| missing("pretokenizers"))?;
            return list.into_iter().try_for_each(|inner| add(inner.get(), items, steps));
        }
        "Split" => Step::Split {
            pattern: Pattern::new(file.pattern.ok_or_else(|| missing("pattern"))?, items)?,
            behavior: file.behavior.ok_or_else(|| missing("behavior"))?,
            invert: file.invert.ok_or_else(|| missing("invert"))?,
        },
        "ByteLevel" => Step::ByteLevel {
            add_prefix_space: file.add_prefix_space.ok_or_else(|| missing("add_prefix_space"))?,
            use_regex: file.use_regex.unwrap_or(true),
        },
        "Digits" => {
            Step::Digits { individual: file.individual_digits.ok_or_else(|| missing("individual_digits"))? }
        }
        "Metaspace" => {
            let prepend = match (file.add_prefix_space, file.prepend_scheme) {
                (Some(false), Some(PrependScheme::First | PrependScheme::Always)) => {
                    return Err("its Metaspace has add_prefix_space false and a prepend_scheme".into());
                }
                (Some(false), _) => PrependScheme::Never,
                (_, scheme) => scheme.unwrap_or(PrependScheme::Always),
            };
            let replacement = file.replacement.ok_or_else(|| missing("replacement"))?;
            Step::Metaspace { replacement, prepend, split: file.split.unwrap_or(true) }
        }
        "Whitespace" => Step::Whitespace,
        "WhitespaceSplit" => Step::WhitespaceSplit,
        "Punctuation" => Step::Punctuation(file.behavior.unwrap_or(Behavior::Isolated)),
        _ => return Err(format!("its pre_tokenizer is {}, supported are {SUPPORTED}", clip(&name))),
    };
    steps.push(step);
    within("pre_tokenizers", steps.len(), COMPONENTS)
}

/// Splits a text by the first step and its parts by the others. The recursion is bounded by the number of steps.
fn run(
    steps: &[Step],
    text: &str,
    first: bool,
    meter: &Meter<'_>,
    word: &mut dyn FnMut(&str) -> Result<(), TokenizerError>,
) -> Result<(), TokenizerError> {
    let Some((step, rest)) = steps.split_first() else { return word(text) };
    let mut next =
        |range: Range<usize>| run(rest, &text[range.clone()], first && range.start == 0, meter, word);
    // A character is a match of its own.
    let character = |from: usize, is: &dyn Fn(char) -> bool| {
        meter.step()?;
        Ok(text[from..]
            .char_indices()
            .find(|&(_, c)| is(c))
            .map(|(at, c)| from + at..from + at + c.len_utf8()))
    };
    match step {
        Step::Split { pattern, behavior, invert } => {
            split(text.len(), *invert, *behavior, |from| pattern.find(text, from, meter), &mut next)
        }
        Step::Digits { individual } => {
            let behavior = if *individual { Behavior::Isolated } else { Behavior::Contiguous };
            split(text.len(), false, behavior, |from| character(from, &char::is_numeric), &mut next)
        }
        Step::Punctuation(behavior) => {
            let is = |c: char| c.is_ascii_punctuation() || c.is_punctuation();
            split(text.len(), false, *behavior, |from| character(from, &is), &mut next)
        }
        Step::WhitespaceSplit => split(
            text.len(),
            false,
            Behavior::Removed,
            |from| character(from, &char::is_whitespace),
            &mut next,
        ),
        Step::Whitespace => match &*WORD {
            Some(pattern) => {
                split(text.len(), true, Behavior::Removed, |from| pattern.find(text, from, meter), &mut next)
            }
            None => next(0..text.len()),
        },
        Step::Metaspace { replacement, prepend, split: splits } => {
            let mut spelled = text.replace(' ', replacement.encode_utf8(&mut [0; 4]));
            let prepends = *prepend == PrependScheme::Always || *prepend == PrependScheme::First && first;
            if prepends && !spelled.starts_with(*replacement) {
                spelled.insert(0, *replacement);
            }
            let spelled = spelled.as_str();
            let mut next = |range: Range<usize>| {
                run(rest, &spelled[range.clone()], first && range.start == 0, meter, word)
            };
            if !splits {
                return next(0..spelled.len());
            }
            let find = |from: usize| {
                meter.step()?;
                let found = spelled[from..].find(*replacement);
                Ok(found.map(|at| from + at..from + at + replacement.len_utf8()))
            };
            split(spelled.len(), false, Behavior::MergedWithNext, find, &mut next)
        }
        Step::ByteLevel { add_prefix_space, use_regex } => {
            let prefixed = if *add_prefix_space && !text.starts_with(' ') {
                Cow::Owned(format!(" {text}"))
            } else {
                Cow::Borrowed(text)
            };
            let text: &str = &prefixed;
            let mut bytes = String::new();
            let mut next = |range: Range<usize>| {
                bytes.clear();
                bytes.extend(text[range.clone()].bytes().map(char_of));
                run(rest, &bytes, first && range.start == 0, meter, word)
            };
            match GPT2_WORD.as_ref().filter(|_| *use_regex) {
                Some(gpt2) => split(
                    text.len(),
                    false,
                    Behavior::Isolated,
                    |from| gpt2.find(text, from, meter),
                    &mut next,
                ),
                None => next(0..text.len()),
            }
        }
    }
}

/// Calls `word` with the parts of a text of which `find` finds the matches; with `invert`, what lies between counts as the
/// matches.
fn split(
    length: usize,
    invert: bool,
    behavior: Behavior,
    find: impl Fn(usize) -> Result<Option<Range<usize>>, TokenizerError>,
    word: &mut dyn FnMut(Range<usize>) -> Result<(), TokenizerError>,
) -> Result<(), TokenizerError> {
    let mut joiner = Joiner::new(behavior);
    let mut at = 0;
    while at < length {
        let found = find(at)?.unwrap_or(length..length);
        if at < found.start {
            joiner.push(at..found.start, invert, word)?;
        }
        if found.start < found.end {
            joiner.push(found.clone(), !invert, word)?;
        }
        at = found.end;
    }
    joiner.finish(word)
}
