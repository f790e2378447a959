//! From a text to its tokens: added tokens, normalizing, words, merges.
//!
//! A text is worked off from its beginning to its end. Besides the normalized text, memory holds no more than a word at a
//! time, so that it does not depend on the number of words.

use super::added::{Form, Part, Specials};
use super::bpe::Scratch;
use super::limit::{EncodeLimit, Meter};
use super::{Tokenizer, TokenizerError};
use crate::TokenId;
use std::ops::Range;

impl Tokenizer {
    /// Tokenizes `text`. Special tokens written in it, such as `<|im_end|>`, become those tokens, as chat templates
    /// require. With `add_special`, the model's special tokens are added around it (Llama's `<s>`).
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, TokenizerError> {
        self.encode_within(text, add_special, &EncodeLimit::default())
    }

    /// [`Tokenizer::encode`] within a limit.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], [`TokenizerError::TooManyTokens`] or [`TokenizerError::Interrupted`].
    pub fn encode_within(
        &self,
        text: &str,
        add_special: bool,
        limit: &EncodeLimit<'_>,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = Vec::new();
        if add_special {
            ids.extend_from_slice(&self.surround.prefix);
        }
        self.encode_into(text, &Specials::Parsed, limit, &mut ids)?;
        if add_special {
            ids.extend_from_slice(&self.surround.suffix);
        }
        Meter::new(limit).tokens(ids.len())?;
        Ok(ids)
    }

    /// Tokenizes untrusted text: special tokens written in it are tokenized like any other word, and none are added.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        self.encode_plain_within(text, &EncodeLimit::default())
    }

    /// [`Tokenizer::encode_plain`] within a limit.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], [`TokenizerError::TooManyTokens`] or [`TokenizerError::Interrupted`].
    pub fn encode_plain_within(
        &self,
        text: &str,
        limit: &EncodeLimit<'_>,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        let mut ids = Vec::new();
        self.encode_into(text, &Specials::Ignored, limit, &mut ids)?;
        Ok(ids)
    }

    /// Tokenizes a text as [`Tokenizer::encode_within`] without the special tokens around it, except that special tokens
    /// which touch one of the ranges of bytes `untrusted`, in order, are text.
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
        self.encode_into(text, &Specials::Untrusted(untrusted), limit, &mut ids)?;
        Ok(ids)
    }

    fn encode_into(
        &self,
        text: &str,
        specials: &Specials<'_>,
        limit: &EncodeLimit<'_>,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        let meter = Meter::new(limit);
        meter.tokens(ids.len() + text.len() / self.longest_token)?;
        if text.len() > u32::MAX as usize {
            return Err(TokenizerError::Encode("it has 4 GiB or more".into()));
        }
        let untrusted = matches!(specials, Specials::Untrusted(ranges) if !ranges.is_empty());
        let origins = self.splitter.has_first() || untrusted && self.added.has_control(Form::Normalized);
        let mut scratch = Scratch::default();
        self.added.split(text, Form::Raw, specials, &|at| at, &meter, &mut |part| {
            let section = match part {
                Part::Token(id) => return push(id, ids, &meter),
                Part::Text(section) => section,
            };
            let normalized = self.normalizer.run(&text[section.clone()], origins, &meter)?;
            let origin = |at: usize| section.start + normalized.origin(at);
            self.added.split(&normalized.text, Form::Normalized, specials, &origin, &meter, &mut |part| {
                let range = match part {
                    Part::Token(id) => return push(id, ids, &meter),
                    Part::Text(range) => range,
                };
                let first = origin(range.start) == 0;
                self.splitter.run(&normalized.text[range], first, &meter, &mut |word| {
                    self.encode_word(word, untrusted, &mut scratch, &meter, ids)
                })
            })
        })
    }

    /// Appends the tokens of a word; with `untrusted`, no special ones.
    fn encode_word(
        &self,
        word: &str,
        untrusted: bool,
        scratch: &mut Scratch,
        meter: &Meter<'_>,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        meter.step()?;
        let start = ids.len();
        self.bpe.encode(word, scratch, meter, ids)?;
        // A word of the vocabulary can be a special token; its characters are none.
        let special = |&id: &TokenId| self.is_special(id) && !self.bpe.is_unknown(id);
        if untrusted && ids[start..].iter().any(special) {
            ids.truncate(start);
            for (at, c) in word.char_indices() {
                meter.step()?;
                self.bpe.encode(&word[at..at + c.len_utf8()], scratch, meter, ids)?;
            }
        }
        meter.tokens(ids.len())
    }
}

/// Appends an added token.
fn push(id: TokenId, ids: &mut Vec<TokenId>, meter: &Meter<'_>) -> Result<(), TokenizerError> {
    ids.push(id);
    meter.tokens(ids.len())
}
