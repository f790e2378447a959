//! Byte-pair encoding: neighbours are merged, the lowest rank first.

use super::TokenizerError;
use super::bounds::{MERGES, TOKEN_BYTES, WORD_BYTES, clip};
use super::byte_level::char_of;
use super::limit::Meter;
use super::pattern::too_long;
use super::vocabulary::{Append, Vocabulary};
use crate::json::or_default;
use ahash::{AHashMap, AHashSet};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::OnceLock;

/// Symbols after which a word is cut where it can be; few in the tests, which thus cut everywhere.
const CHUNK: usize = if cfg!(test) { 8 } else { 4096 };

/// The `model` of a tokenizer.json, as written.
#[derive(Debug, Deserialize)]
pub(super) struct ModelFile {
    #[serde(rename = "type")]
    pub(super) model_type: Option<String>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
    #[serde(default)]
    vocab: Option<Vocabulary>,
    #[serde(default, deserialize_with = "or_default")]
    merges: Merges,
}

/// Refuses models of another type.
pub(super) fn check_type(model: Option<&str>) -> Result<(), String> {
    match model {
        Some("BPE") | None => Ok(()),
        Some(other) => Err(format!("its model is {}; only BPE is supported", clip(other))),
    }
}

/// (left, right) to (rank, merged).
type MergeTable = AHashMap<(u32, u32), (u32, u32)>;

/// A BPE model, ready to encode words.
#[derive(Debug)]
pub(super) struct Bpe {
    pub(super) vocabulary: Vocabulary,
    merges: MergeTable,
    unk: Option<u32>,
    fuse_unk: bool,
    /// Ids of `<0x00>` to `<0xFF>`, where the model falls back to bytes.
    bytes: Option<Box<[Option<u32>; 256]>>,
    ignore_merges: bool,
    /// The last character of the left and the first one of the right token of each merge; made for the first long word.
    seams: OnceLock<AHashSet<(char, char)>>,
}

impl Bpe {
    /// Checks the file's model and builds the tables.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub(super) fn new(file: ModelFile) -> Result<Self, String> {
        check_type(file.model_type.as_deref())?;
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if set(&file.continuing_subword_prefix) || set(&file.end_of_word_suffix) {
            return Err("it marks word parts by a prefix or suffix, which is not supported".into());
        }
        if file.dropout.is_some_and(|p| p != 0.0) {
            return Err("it drops merges at random, which is not supported; set model.dropout to null".into());
        }
        let vocabulary = file.vocab.ok_or("its model has no vocab")?;
        let unk = match &file.unk_token {
            Some(token) => Some(
                vocabulary
                    .id(token)
                    .ok_or_else(|| format!("its unknown token {} is not in the vocab", clip(token)))?,
            ),
            None => None,
        };
        let merges = file.merges.resolve(&vocabulary)?;
        let bytes = file.byte_fallback.unwrap_or(false).then(|| {
            let mut ids = Box::new([None; 256]);
            for (byte, id) in ids.iter_mut().enumerate() {
                *id = vocabulary.id(&format!("<0x{byte:02X}>"));
            }
            ids
        });
        Ok(Bpe {
            vocabulary,
            merges,
            unk,
            fuse_unk: file.fuse_unk.unwrap_or(false),
            bytes,
            ignore_merges: file.ignore_merges.unwrap_or(false),
            seams: OnceLock::new(),
        })
    }

    /// The most bytes that a token stands for, or characters of the byte-level alphabet if all are `bytes`; `None` if
    /// nothing bounds them, because what is unknown is left out or makes one token.
    pub(super) fn longest(&self, bytes: bool) -> Option<usize> {
        let all_known = if bytes {
            (0..=255).all(|byte| self.vocabulary.id(char_of(byte).encode_utf8(&mut [0; 4])).is_some())
        } else {
            self.bytes.as_ref().is_some_and(|ids| ids.iter().all(Option::is_some))
        };
        if !all_known && (self.unk.is_none() || self.fuse_unk) {
            return None;
        }
        let length = |token: &str| if bytes { token.chars().count() } else { token.len() };
        self.vocabulary.iter().map(length).chain([char::MAX.len_utf8()]).max()
    }

    /// Appends the tokens of one word, as the pre-tokenizer split it off.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if it is too long, and those of the meter.
    pub(super) fn encode(
        &self,
        word: &str,
        scratch: &mut Scratch,
        meter: &Meter<'_>,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        if self.ignore_merges
            && word.len() <= TOKEN_BYTES
            && let Some(id) = self.vocabulary.id(word)
        {
            ids.push(id);
            return Ok(());
        }
        scratch.symbols.clear();
        let mut unknown = None;
        let mut utf8 = [0; 4];
        // One symbol per character; bytes or the unknown token for characters outside the vocabulary.
        for c in word.chars() {
            let c: &str = c.encode_utf8(&mut utf8);
            if let Some(id) = self.vocabulary.id(c) {
                self.push_all(unknown.take().into_iter().chain([id]), scratch, meter, ids)?;
            } else if let Some(bytes) = &self.bytes
                && c.bytes().all(|byte| bytes[byte as usize].is_some())
            {
                self.push_all(c.bytes().filter_map(|byte| bytes[byte as usize]), scratch, meter, ids)?;
            } else {
                if !self.fuse_unk {
                    self.push_all(unknown, scratch, meter, ids)?;
                }
                unknown = self.unk;
            }
        }
        self.push_all(unknown, scratch, meter, ids)?;
        self.merge(scratch, meter, ids)
    }

    /// Whether the token stands for what the vocabulary lacks.
    pub(super) fn is_unknown(&self, id: u32) -> bool {
        self.unk == Some(id)
    }

    fn push_all(
        &self,
        symbols: impl IntoIterator<Item = u32>,
        scratch: &mut Scratch,
        meter: &Meter<'_>,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        for id in symbols {
            let at = scratch.symbols.len();
            if at >= CHUNK && !self.may_merge(scratch.symbols[at - 1].id, id) {
                self.merge(scratch, meter, ids)?;
                meter.tokens(ids.len())?;
            } else if at >= WORD_BYTES {
                return Err(too_long());
            }
            scratch.push(id);
        }
        Ok(())
    }

    /// Whether a merge may ever join what ends with the one symbol and what begins with the other. If none does, the words on
    /// both sides have the tokens that they have alone.
    fn may_merge(&self, left: u32, right: u32) -> bool {
        let text = |id: u32| self.vocabulary.text(id).unwrap_or_default();
        let seam =
            |left: u32, right: u32| Some((text(left).chars().next_back()?, text(right).chars().next()?));
        let seams = self
            .seams
            .get_or_init(|| self.merges.keys().filter_map(|&(left, right)| seam(left, right)).collect());
        seam(left, right).is_none_or(|seam| seams.contains(&seam))
    }

    /// Merges neighbours, the lowest rank first and the leftmost of equals, and appends the tokens that are left.
    fn merge(
        &self,
        Scratch { symbols, queue }: &mut Scratch,
        meter: &Meter<'_>,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        queue.clear();
        for at in 1..symbols.len() as u32 {
            self.offer(queue, symbols, at - 1, at);
        }
        while let Some(Reverse((_, at, merged))) = queue.pop() {
            meter.step()?;
            let Symbol { id, previous, next } = symbols[at as usize];
            // Stale if one of the two has since been merged with another.
            if id == GONE || next == NONE {
                continue;
            }
            let right = symbols[next as usize];
            if self.merges.get(&(id, right.id)).is_none_or(|&(_, now)| now != merged) {
                continue;
            }
            symbols[at as usize] = Symbol { id: merged, previous, next: right.next };
            symbols[next as usize].id = GONE;
            if right.next != NONE {
                symbols[right.next as usize].previous = at;
                self.offer(queue, symbols, at, right.next);
            }
            if previous != NONE {
                self.offer(queue, symbols, previous, at);
            }
        }
        ids.extend(symbols.iter().filter(|symbol| symbol.id != GONE).map(|symbol| symbol.id));
        symbols.clear();
        Ok(())
    }

    fn offer(&self, queue: &mut Queue, symbols: &[Symbol], left: u32, right: u32) {
        let pair = (symbols[left as usize].id, symbols[right as usize].id);
        if let Some(&(rank, merged)) = self.merges.get(&pair) {
            queue.push(Reverse((rank, left, merged)));
        }
    }
}

/// Buffers shared by the words of a text.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    symbols: Vec<Symbol>,
    queue: Queue,
}

impl Scratch {
    /// Appends a symbol.
    fn push(&mut self, id: u32) {
        // A word has at most WORD_BYTES symbols.
        let at = self.symbols.len() as u32;
        let previous = match self.symbols.last_mut() {
            Some(last) => {
                last.next = at;
                at - 1
            }
            None => NONE,
        };
        self.symbols.push(Symbol { id, previous, next: NONE });
    }
}

/// (rank, position of the left symbol, merged id), the smallest on top.
type Queue = BinaryHeap<Reverse<(u32, u32, u32)>>;

/// A token of the word so far, in a list linked by indices.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    id: u32,
    previous: u32,
    next: u32,
}

/// Id of a symbol that was merged into its left neighbour.
const GONE: u32 = u32::MAX;
/// No neighbour.
const NONE: u32 = u32::MAX;

/// The merges as written: `"a b"` or `["a", "b"]`, each as start, middle and end in one buffer.
#[derive(Debug, Default)]
struct Merges {
    text: String,
    pairs: Vec<[u32; 3]>,
}

impl Merges {
    fn resolve(&self, vocabulary: &Vocabulary) -> Result<MergeTable, String> {
        let mut merges = AHashMap::with_capacity(self.pairs.len());
        for (rank, &[start, middle, end]) in (0..).zip(&self.pairs) {
            let id = |from: u32, to: u32| {
                let token = &self.text[from as usize..to as usize];
                vocabulary
                    .id(token)
                    .ok_or_else(|| format!("merge {rank} needs {}, which is not in the vocab", clip(token)))
            };
            merges.insert((id(start, middle)?, id(middle, end)?), (rank, id(start, end)?));
        }
        Ok(merges)
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Merges;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
                let mut merges = Merges::default();
                while let Some(pair) = list.next_element_seed(Pair(&mut merges.text))? {
                    if merges.pairs.len() == MERGES {
                        return Err(A::Error::custom(format!("there are more than {MERGES} merges")));
                    }
                    merges.pairs.push(pair);
                }
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Appends one merge to the buffer.
struct Pair<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = [u32; 3];
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<[u32; 3], D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = [u32; 3];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
    }

    fn visit_str<E: serde::de::Error>(self, merge: &str) -> Result<[u32; 3], E> {
        let mut parts = merge.split(' ');
        let (Some(left), Some(right), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(E::custom(format!(
                "{} is not a merge: two tokens with one space between are",
                clip(merge)
            )));
        };
        let (start, length) = Append(self.0).visit_str(left)?;
        let (middle, rest) = Append(self.0).visit_str(right)?;
        debug_assert_eq!(start + length, middle);
        Ok([start, middle, middle + rest])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<[u32; 3], A::Error> {
        let left = pair.next_element_seed(Append(self.0))?;
        let right = pair.next_element_seed(Append(self.0))?;
        match (left, right, pair.next_element::<&str>()?) {
            (Some((start, _)), Some((middle, length)), None) => Ok([start, middle, middle + length]),
            _ => Err(A::Error::custom("a merge is two tokens")),
        }
    }
}
