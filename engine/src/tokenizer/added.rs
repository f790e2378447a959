//! Added tokens, such as `<|im_end|>`: they are found in a text before it is split into words.

use super::TokenizerError;
use super::bounds::{ADDED_BYTES, ADDED_TOKEN_BYTES, ADDED_TOKENS, TOKENS, clip, within};
use super::file::AddedTokenFile;
use super::limit::{EncodeLimit, Meter};
use super::normalizer::Normalizer;
use super::vocabulary::Vocabulary;
use crate::TokenId;
use ahash::{AHashMap, AHashSet};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use fancy_regex::Regex;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

/// The added tokens of a file.
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    by_id: BTreeMap<TokenId, Added>,
    ids: AHashMap<String, TokenId>,
    /// Finds tokens in the text as it is.
    raw: Option<Finder>,
    /// Finds tokens in the normalized text.
    normalized: Option<Finder>,
}

/// An added token.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) content: String,
    /// The decoder's input, and what is found in a normalized text: `content`, or its normalized form.
    pub(super) piece: String,
    pub(super) special: bool,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
}

/// Finds tokens in a text.
#[derive(Debug)]
struct Finder {
    automaton: AhoCorasick,
    /// The token of each pattern.
    ids: Vec<TokenId>,
}

/// Which text a token is sought in.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Raw,
    Normalized,
}

/// Which tokens count.
pub(super) enum Specials<'a> {
    /// All.
    Parsed,
    /// Those that are not special.
    Ignored,
    /// All, but not control tokens of which a byte comes from one of these ranges, which are in order.
    Untrusted(&'a [Range<usize>]),
}

/// A part of a text.
pub(super) enum Part {
    Token(TokenId),
    Text(Range<usize>),
}

impl AddedTokens {
    /// Checks the tokens and gives them the ids that Hugging Face's library would.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub(super) fn new(
        tokens: Vec<AddedTokenFile>,
        vocabulary: &Vocabulary,
        normalizer: &Normalizer,
    ) -> Result<Self, String> {
        within("added tokens", tokens.len(), ADDED_TOKENS)?;
        within("added tokens' bytes", tokens.iter().map(|token| token.content.len()).sum(), ADDED_BYTES)?;
        let mut added = AddedTokens::default();
        let mut next_id = vocabulary.count() as TokenId;
        let (mut raw, mut normalized, mut bytes) = (BTreeMap::new(), BTreeMap::new(), 0);
        for token in tokens {
            let AddedTokenFile { id, content, special, single_word, lstrip, rstrip, normalized: normalizes } =
                token;
            within(&format!("bytes of added token {id}"), content.len(), ADDED_TOKEN_BYTES)?;
            let given =
                added.ids.get(&content).copied().or_else(|| vocabulary.id(&content)).unwrap_or_else(|| {
                    next_id += 1;
                    next_id - 1
                });
            if given != id || content.is_empty() || id >= TOKENS {
                return Err(format!(
                    "added token {} says that its id is {id}, but by its place in the list it is {}",
                    clip(&content),
                    if content.is_empty() { "none".into() } else { given.to_string() },
                ));
            }
            let mut piece = content.clone();
            if normalizes && !normalizer.is_empty() {
                let meter = Meter::new(&EncodeLimit::default());
                piece = normalizer
                    .run(&content, false, &meter)
                    .map_err(|error| error.to_string())?
                    .text
                    .into_owned();
            }
            bytes += piece.len();
            within("added tokens' bytes, normalized,", bytes, ADDED_BYTES)?;
            // Of two with the same text, the later one counts.
            raw.remove(&id);
            normalized.remove(&id);
            if normalizes { &mut normalized } else { &mut raw }.insert(id, piece.clone());
            added.ids.insert(content.clone(), id);
            added.by_id.insert(id, Added { content, piece, special, single_word, lstrip, rstrip });
        }
        added.raw = Finder::new(raw)?;
        added.normalized = Finder::new(normalized)?;
        Ok(added)
    }

    pub(super) fn get(&self, id: TokenId) -> Option<&Added> {
        self.by_id.get(&id)
    }

    pub(super) fn id(&self, content: &str) -> Option<TokenId> {
        self.ids.get(content).copied()
    }

    /// One above the largest id.
    pub(super) fn end(&self) -> usize {
        self.by_id.last_key_value().map_or(0, |(id, _)| *id as usize + 1)
    }

    /// Whether tokens of this form are special, or look like it.
    pub(super) fn has_control(&self, form: Form) -> bool {
        let finder = self.finder(form);
        finder.is_some_and(|finder| {
            finder.ids.iter().any(|id| self.by_id.get(id).is_some_and(Added::is_control))
        })
    }

    /// The most bytes of a text that a token stands for; `None` if there is no such number, because a token takes the
    /// whitespace around it.
    pub(super) fn longest(&self) -> Option<usize> {
        self.by_id.values().try_fold(0, |longest, token| {
            let bounded = !token.lstrip && !token.rstrip;
            bounded.then(|| longest.max(token.content.len()).max(token.piece.len()))
        })
    }

    fn finder(&self, form: Form) -> Option<&Finder> {
        if form == Form::Raw { self.raw.as_ref() } else { self.normalized.as_ref() }
    }

    /// Calls `part` with the tokens in a text and what is between them. `origin` says where a byte of the text comes from.
    pub(super) fn split(
        &self,
        text: &str,
        form: Form,
        specials: &Specials<'_>,
        origin: &dyn Fn(usize) -> usize,
        meter: &Meter<'_>,
        part: &mut dyn FnMut(Part) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        // What is behind `done` has not been given away yet; the next token is sought from `at`; a token took the whitespace
        // up to `taken`.
        let (mut done, mut at, mut taken) = (0, 0, 0);
        while let Some((token, id, found)) = self.next(text, at, form) {
            meter.step()?;
            at = found.end;
            match specials {
                Specials::Ignored if token.special => continue,
                Specials::Untrusted(ranges) if token.is_control() && comes_from(&found, ranges, origin) => {
                    // Its first character begins no token, so a shorter one behind it may come to light.
                    at = text.ceil_char_boundary(found.start + 1);
                    continue;
                }
                _ => {}
            }
            if token.single_word
                && (ends_in_word(&text[..found.start]) || begins_with_word(&text[found.end..]))
            {
                continue;
            }
            let (mut start, mut end) = (found.start, found.end);
            if token.lstrip && done < start {
                start = done + text[done..start].trim_end().len();
            }
            if token.rstrip {
                if taken < end {
                    taken = text.len() - text[end..].trim_start().len();
                }
                end = taken;
            }
            if done < start {
                part(Part::Text(done..start))?;
            }
            part(Part::Token(id))?;
            done = end;
        }
        if done < text.len() { part(Part::Text(done..text.len())) } else { Ok(()) }
    }

    /// The first token at or after `from`: of those that begin there, the longest.
    fn next(&self, text: &str, from: usize, form: Form) -> Option<(&Added, TokenId, Range<usize>)> {
        let finder = self.finder(form)?;
        let found = finder.automaton.find(Input::new(text).span(from..text.len()))?;
        let id = *finder.ids.get(found.pattern().as_usize())?;
        Some((self.by_id.get(&id)?, id, found.range()))
    }
}

impl Added {
    /// Whether a token separates texts rather than being a part of one: it is special, or looks like it. Some files do not
    /// mark DeepSeek's `<｜User｜>` and Qwen's `<|fim_prefix|>`.
    fn is_control(&self) -> bool {
        let inner =
            self.content.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or_default();
        let looks = |bar: &str| inner.len() > bar.len() && inner.starts_with(bar) && inner.ends_with(bar);
        self.special || looks("|") || looks("｜")
    }
}

impl Finder {
    fn new(pieces: BTreeMap<TokenId, String>) -> Result<Option<Self>, String> {
        if pieces.is_empty() {
            return Ok(None);
        }
        let mut seen = AHashSet::new();
        if let Some(piece) = pieces.values().find(|piece| piece.is_empty() || !seen.insert(piece.as_str())) {
            return Err(format!("two of its added tokens are {} in a text, or one is nothing", clip(piece)));
        }
        // The automaton whose memory does not depend on the alphabet.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(pieces.values())
            .map_err(|error| format!("its added tokens cannot be read: {error}"))?;
        Ok(Some(Finder { automaton, ids: pieces.into_keys().collect() }))
    }
}

/// Whether a byte of a range comes from one of `ranges`, which are in order.
fn comes_from(found: &Range<usize>, ranges: &[Range<usize>], origin: &dyn Fn(usize) -> usize) -> bool {
    found.clone().map(origin).any(|from| {
        let at = ranges.partition_point(|range| range.end <= from);
        ranges.get(at).is_some_and(|range| range.start <= from)
    })
}

static WORD_CHARACTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A\w").ok());

fn is_word_character(c: char) -> bool {
    WORD_CHARACTER.as_ref().is_some_and(|word| word.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or(false))
}

fn ends_in_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_word_character)
}

fn begins_with_word(text: &str) -> bool {
    text.chars().next().is_some_and(is_word_character)
}
