//! The tokenizer, from a Hugging Face `tokenizer.json`.
//!
//! Ids equal those of Hugging Face's library, the crate `tokenizers`, which is the reference of the tests. The library
//! itself is not used: it keeps 300 bytes for each word of a text, cannot be interrupted, panics on some files, and its
//! model takes a third of a second and 115 MB to load Qwen's 152,000 tokens. Here a text is worked off word by word
//! (`encode`), a file is bounded when it is read (`bounds`), and the detokenizer (`decoder`) streams.

mod added;
mod bounds;
mod bpe;
mod byte_level;
mod decoder;
mod encode;
mod file;
mod limit;
mod normalizer;
mod pattern;
mod splitter;
mod stream;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use limit::EncodeLimit;
pub use stream::Detokenizer;
pub(crate) use stream::TokenStream;

use crate::TokenId;
use added::AddedTokens;
use bounds::{FILE_BYTES, within};
use bpe::Bpe;
use decoder::Decoder;
use file::{Surround, TokenizerFile, unreadable};
use normalizer::Normalizer;
use splitter::Splitter;

/// Why a tokenizer cannot be opened or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The file is malformed, or uses features that no supported model needs.
    #[error("tokenizer.json cannot be used: {0}")]
    File(String),
    /// A text cannot be tokenized: it has a word of more than 1 MiB, or an unusual pattern takes too long for it.
    #[error("this text cannot be tokenized: {0}; shorten it or remove very long repetitions")]
    Encode(String),
    /// A text has more tokens than [`EncodeLimit::tokens`] allows.
    #[error("this text has more than {most} tokens")]
    TooManyTokens {
        /// The limit.
        most: usize,
    },
    /// [`EncodeLimit::interrupt`] said that nobody waits for the tokens any more.
    #[error("tokenizing was interrupted")]
    Interrupted,
}

/// Tokenizes and detokenizes.
///
/// ```
/// use edgellm::tokenizer::Tokenizer;
///
/// let json = br#"{
///     "added_tokens": [{"id": 3, "content": "<|end|>", "special": true, "single_word": false,
///                       "lstrip": false, "rstrip": false, "normalized": false}],
///     "decoder": {"type": "ByteLevel"},
///     "model": {"type": "BPE", "vocab": {"h": 0, "i": 1, "hi": 2}, "merges": ["h i"]}
/// }"#;
/// let tokenizer = Tokenizer::from_json(json)?;
/// assert_eq!(tokenizer.encode("hi<|end|>", true)?, [2, 3]);
/// assert_eq!(tokenizer.decode(&[2, 3], false), "hi<|end|>");
/// assert_eq!(tokenizer.decode(&[2, 3], true), "hi");
/// # Ok::<(), edgellm::tokenizer::TokenizerError>(())
/// ```
pub struct Tokenizer {
    normalizer: Normalizer,
    splitter: Splitter,
    added: AddedTokens,
    surround: Surround,
    bpe: Bpe,
    decoder: Decoder,
    vocab_size: usize,
    longest_token: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::File`] if it is malformed or not of a BPE model.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        within("bytes", json.len(), FILE_BYTES).map_err(TokenizerError::File)?;
        let file: TokenizerFile<'_> =
            serde_json::from_slice(json).map_err(|e| TokenizerError::File(unreadable(json, &e)))?;
        Self::from_file(file).map_err(TokenizerError::File)
    }

    fn from_file(file: TokenizerFile<'_>) -> Result<Self, String> {
        let mut items = 0;
        let normalizer = Normalizer::from_json(file.normalizer, &mut items)?;
        let splitter = Splitter::from_json(file.pre_tokenizer, &mut items)?;
        let surround = Surround::from_json(file.post_processor)?;
        let decoder = Decoder::from_json(file.decoder)?;
        let bpe = Bpe::new(file.model)?;
        let added = AddedTokens::new(file.added_tokens, &bpe.vocabulary, &normalizer)?;
        let vocab_size = bpe.vocabulary.len().max(added.end());
        if let Some(id) =
            surround.prefix.iter().chain(&surround.suffix).find(|&&id| id as usize >= vocab_size)
        {
            return Err(format!("its post_processor adds token {id}, but there are only {vocab_size}"));
        }
        let longest_token = longest_token(&normalizer, &splitter, &added, &bpe).unwrap_or(usize::MAX);
        Ok(Tokenizer { normalizer, splitter, added, surround, bpe, decoder, vocab_size, longest_token })
    }

    /// The most bytes of a text that one token can stand for; `usize::MAX` where nothing bounds them, as with tokens that
    /// swallow the whitespace around them. A text has at least as many tokens as its bytes divided by this.
    pub fn longest_token(&self) -> usize {
        self.longest_token
    }

    /// Adds the model's special tokens around those of a text, as [`Tokenizer::encode`] does with `add_special`.
    pub fn surround(&self, ids: &[TokenId]) -> Vec<TokenId> {
        [self.surround.prefix.as_slice(), ids, &self.surround.suffix].concat()
    }

    /// Detokenizes `ids`, without special tokens if `skip_special`. Ids outside the vocabulary have no text; bytes that
    /// are not UTF-8 become replacement characters.
    pub fn decode(&self, ids: &[TokenId], skip_special: bool) -> String {
        let mut text = String::new();
        let mut stream = Detokenizer::new(self, skip_special);
        for &id in ids {
            stream.push(id, &mut text);
        }
        stream.finish(&mut text);
        text
    }

    /// Id of a token, spelled as in the vocabulary (`Ġhello`) or, for added tokens, as in the text (`<|im_end|>`).
    pub fn token_to_id(&self, token: &str) -> Option<TokenId> {
        self.added.id(token).or_else(|| self.bpe.vocabulary.id(token))
    }

    /// Spelling of a token; the inverse of [`Tokenizer::token_to_id`].
    pub fn id_to_token(&self, id: TokenId) -> Option<&str> {
        self.added.get(id).map(|added| added.content.as_str()).or_else(|| self.bpe.vocabulary.text(id))
    }

    /// The bytes that a token adds in the middle of a text, which may be only part of a character; `None` for ids
    /// outside the vocabulary.
    pub fn token_bytes(&self, id: TokenId) -> Option<Vec<u8>> {
        Some(self.decoder.bytes(self.piece(id)?))
    }

    /// One above the largest id. A model's embedding may have more rows: `config.vocab_size`.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Whether nothing comes before a text after `prompt`: it is no more than the tokens that are added before a text.
    pub(crate) fn begins_text(&self, prompt: &[TokenId]) -> bool {
        prompt == self.surround.prefix
    }

    /// Whether a token is special, such as `<|im_end|>`.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.added.get(id).is_some_and(|added| added.special)
    }

    /// The decoder's input for a token.
    fn piece(&self, id: TokenId) -> Option<&str> {
        self.added.get(id).map(|added| added.piece.as_str()).or_else(|| self.bpe.vocabulary.text(id))
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size).finish_non_exhaustive()
    }
}

/// The most bytes of a text that a token can stand for, if anything bounds them.
fn longest_token(
    normalizer: &Normalizer,
    splitter: &Splitter,
    added: &AddedTokens,
    bpe: &Bpe,
) -> Option<usize> {
    if splitter.removes() {
        return None;
    }
    let bytes = splitter.ends_in_bytes() || normalizer.ends_in_bytes();
    let longest = bpe.longest(bytes)?.max(added.longest()?);
    longest.max(1).checked_mul(normalizer.shrinking()?)
}
