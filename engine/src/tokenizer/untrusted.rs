//! Texts of which parts are not trusted: control tokens that are written there are text.
//!
//! The crate finds the added tokens of a whole text. Where one of them is special and touches an untrusted part, a
//! character that occurs nowhere else stands in for its first one, so that the crate does not find it; before words are
//! split, the character comes back. So the text around is tokenized as in any text.

use super::{Added, EncodeLimit, Tokenizer, TokenizerError};
use crate::TokenId;
use std::ops::Range;
use tokenizers::{NormalizedString, OffsetReferential, OffsetType, PreTokenizedString};

/// A text with stand-ins, and its untrusted parts.
struct Masked {
    text: String,
    untrusted: Vec<Range<usize>>,
    /// Stand-ins with the characters that they stand for.
    stand_ins: Vec<(char, char)>,
}

impl Tokenizer {
    /// Tokenizes a text as [`Tokenizer::encode`] without the special tokens around it, except that special tokens which
    /// touch one of the ranges of bytes `untrusted`, in order, are text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_within`].
    pub(crate) fn encode_with_untrusted(
        &self,
        text: &str,
        untrusted: &[Range<usize>],
        limit: &EncodeLimit<'_>,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = Vec::new();
        let mut words = self.added.extract_and_normalize(self.normalizer.as_ref(), text);
        let mut forged = self.forged(text, untrusted, &words);
        let mut masked =
            Masked { text: text.to_string(), untrusted: untrusted.to_vec(), stand_ins: Vec::new() };
        // Behind a token that is masked, a shorter one may come to light.
        while !forged.is_empty() {
            masked.mask(&forged);
            words = self.added.extract_and_normalize(self.normalizer.as_ref(), masked.text.as_str());
            forged = self.forged(&masked.text, &masked.untrusted, &words);
        }
        let unmask = |word: &mut NormalizedString| {
            masked
                .stand_ins
                .iter()
                .try_for_each(|&(stand_in, c)| word.replace(stand_in, c.encode_utf8(&mut [0; 4])))
        };
        words.normalize(unmask).map_err(|error| TokenizerError::Encode(error.to_string()))?;
        self.encode_words(words, !untrusted.is_empty(), limit, &mut ids)?;
        Ok(ids)
    }

    /// Where special tokens begin that touch an untrusted part.
    fn forged(&self, text: &str, untrusted: &[Range<usize>], words: &PreTokenizedString) -> Vec<usize> {
        if untrusted.is_empty() {
            return Vec::new();
        }
        let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let tokens = splits.iter().filter_map(|(_, (start, end), tokens)| {
            let id = tokens.as_ref()?.first()?.id;
            let token = self.added_by_id.get(&id).filter(|token| is_control(token))?;
            // The match may contain whitespace around the token.
            let matched = text.get(*start..*end)?;
            let before =
                matched.find(token.content.as_str()).unwrap_or(matched.len() - matched.trim_start().len());
            let first = start + before;
            let end = (first + token.content.len()).min(*end);
            let at = untrusted.partition_point(|range| range.end <= first);
            untrusted.get(at).is_some_and(|range| range.start < end).then_some(first)
        });
        tokens.collect()
    }
}

/// Whether a token separates texts rather than being a part of one: it is special, or looks like it. Some files do not mark
/// DeepSeek's `<｜User｜>` and Qwen's `<|fim_prefix|>`.
fn is_control(token: &Added) -> bool {
    let inner = token.content.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or_default();
    let looks = |bar: &str| inner.len() > bar.len() && inner.starts_with(bar) && inner.ends_with(bar);
    token.special || looks("|") || looks("｜")
}

impl Masked {
    /// Puts stand-ins for the characters at `places`, which are in order.
    fn mask(&mut self, places: &[usize]) {
        let mut text = String::with_capacity(self.text.len() + 2 * places.len());
        let mut untrusted =
            self.untrusted.iter_mut().flat_map(|range| [&mut range.start, &mut range.end]).peekable();
        // The rest of the text from here on is not copied yet; it begins at the end of `text`.
        let mut from = 0;
        for &place in places {
            let Some(c) = self.text[place..].chars().next() else { continue };
            while let Some(bound) = untrusted.next_if(|bound| **bound <= place) {
                *bound = *bound + text.len() - from;
            }
            text.push_str(&self.text[from..place]);
            text.push(stand_in(&mut self.stand_ins, &self.text, c));
            from = place + c.len_utf8();
        }
        untrusted.for_each(|bound| *bound = *bound + text.len() - from);
        text.push_str(&self.text[from..]);
        self.text = text;
    }
}

/// The character that stands for `c`: one that is nowhere in the text.
fn stand_in(stand_ins: &mut Vec<(char, char)>, text: &str, c: char) -> char {
    if let Some(&(stand_in, _)) = stand_ins.iter().find(|(_, known)| *known == c) {
        return stand_in;
    }
    // Characters that mean nothing; then private ones. No text has all of them.
    let candidates = ('\u{fdd0}'..='\u{fdef}').chain('\u{f0000}'..=char::MAX);
    let free =
        |candidate: &char| !text.contains(*candidate) && stand_ins.iter().all(|(used, _)| used != candidate);
    let found = candidates.into_iter().find(free).unwrap_or(char::REPLACEMENT_CHARACTER);
    stand_ins.push((found, c));
    found
}
