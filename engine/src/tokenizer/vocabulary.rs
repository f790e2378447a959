//! The tokens of a model: ids and their text, in one buffer.

use super::bounds::{TOKEN_BYTES, TOKENS};
use ahash::RandomState;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use std::fmt;

/// Both directions of a vocabulary, without an allocation per token.
///
/// Two maps of 150,000 `String`s, as in the `tokenizers` crate, take some 60 MB and a third of a second to build; this
/// takes a tenth of both.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// All texts, concatenated.
    text: String,
    /// Each id's (start, length) in `text`; `ABSENT` for an unused id.
    spans: Vec<(u32, u32)>,
    /// Open addressing: id + 1, or 0 where free. A power of two, at most half full.
    slots: Vec<u32>,
    hasher: RandomState,
}

const ABSENT: (u32, u32) = (u32::MAX, u32::MAX);

impl Vocabulary {
    /// Text of a token.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        match *self.spans.get(id as usize)? {
            ABSENT => None,
            (start, length) => self.text.get(start as usize..(start + length) as usize),
        }
    }

    /// Id of a token.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        // Ends, because at most half of the slots are in use.
        while let Some(id) = self.slots[slot].checked_sub(1) {
            if self.text(id) == Some(text) {
                return Some(id);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// One above the largest id.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// All tokens.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.spans.len() as u32).filter_map(|id| self.text(id))
    }

    /// Number of distinct tokens.
    pub(super) fn count(&self) -> usize {
        self.spans.iter().filter(|&&span| span != ABSENT).count()
    }

    /// Fills `slots` once all texts are there.
    fn index(&mut self) {
        self.slots = vec![0; (self.spans.len() * 2).next_power_of_two()];
        let mask = self.slots.len() - 1;
        for id in 0..self.spans.len() as u32 {
            let Some(text) = self.text(id) else { continue };
            let mut slot = self.hasher.hash_one(text) as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = id + 1;
        }
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VocabularyVisitor)
    }
}

struct VocabularyVisitor;

impl<'de> Visitor<'de> for VocabularyVisitor {
    type Value = Vocabulary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from tokens to ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut vocabulary = Vocabulary::default();
        while let Some(span) = map.next_key_seed(Append(&mut vocabulary.text))? {
            let id: u32 = map.next_value()?;
            if span.1 as usize > TOKEN_BYTES {
                return Err(A::Error::custom(format!(
                    "token {id} has {} bytes, the limit is {TOKEN_BYTES}",
                    span.1
                )));
            }
            if id >= TOKENS {
                return Err(A::Error::custom(format!(
                    "token id {id} is too large, ids end at {}",
                    TOKENS - 1
                )));
            }
            if id as usize >= vocabulary.spans.len() {
                vocabulary.spans.resize(id as usize + 1, ABSENT);
            }
            if vocabulary.spans[id as usize] != ABSENT {
                return Err(A::Error::custom(format!("two tokens have the id {id}")));
            }
            vocabulary.spans[id as usize] = span;
        }
        vocabulary.text.shrink_to_fit();
        vocabulary.spans.shrink_to_fit();
        vocabulary.index();
        Ok(vocabulary)
    }
}

/// Appends a JSON string to a buffer and returns its (start, length).
pub(super) struct Append<'a>(pub(super) &'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = (u32, u32);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(u32, u32), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = (u32, u32);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(u32, u32), E> {
        let start = self.0.len();
        if start + text.len() > i32::MAX as usize {
            return Err(E::custom("the vocabulary is larger than 2 GiB"));
        }
        self.0.push_str(text);
        Ok((start as u32, text.len() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vocabulary, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn both_directions() {
        let v = read(r#"{"a": 0, "\u0120b": 3, "": 1, "日本": 2}"#).unwrap();
        for (text, id) in [("a", 0), ("Ġb", 3), ("", 1), ("日本", 2)] {
            assert_eq!(v.id(text), Some(id));
            assert_eq!(v.text(id), Some(text));
        }
        assert_eq!((v.id("b"), v.text(4), v.len(), v.count()), (None, None, 4, 4));
    }

    #[test]
    fn gaps_are_absent() {
        let v = read(r#"{"a": 0, "b": 5}"#).unwrap();
        assert_eq!((v.text(3), v.len(), v.count()), (None, 6, 2));
    }

    #[test]
    fn empty() {
        let v = read("{}").unwrap();
        assert_eq!((v.id("a"), v.text(0), v.len()), (None, None, 0));
        assert_eq!(Vocabulary::default().id("a"), None);
    }

    #[test]
    fn refuses_nonsense() {
        for json in [r#"{"a": 0, "b": 0}"#, r#"{"a": 4194304}"#, r#"{"a": -1}"#, r#"{"a": "x"}"#, "[]"] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn many_tokens_are_all_found() {
        let json: Vec<String> = (0..5000).map(|i| format!("\"t{}\": {i}", i * 7)).collect();
        let v = read(&format!("{{{}}}", json.join(","))).unwrap();
        for i in 0..5000 {
            assert_eq!(v.id(&format!("t{}", i * 7)), Some(i));
        }
    }
}
