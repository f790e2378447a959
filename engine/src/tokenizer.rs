//! The tokenizer, from a Hugging Face `tokenizer.json`.
//!
//! The `tokenizers` crate normalizes, pre-tokenizes and finds added tokens, so that ids equal those of Hugging Face. The
//! BPE model (`bpe`, `vocabulary`) is our own: the same algorithm on flat tables, because the crate's takes a third of a
//! second and 115 MB to load Qwen's 152,000 tokens. The detokenizer (`decoder`) is our own too, because it has to
//! stream.

mod bpe;
mod decoder;
mod file;
mod limit;
mod stream;
#[cfg(test)]
mod tests;
mod untrusted;
mod vocabulary;

pub use limit::EncodeLimit;
pub use stream::Detokenizer;
pub(crate) use stream::TokenStream;

use crate::TokenId;
use bpe::{Bpe, Scratch};
use decoder::Decoder;
use file::{AddedTokenFile, NORMALIZERS, PRE_TOKENIZERS, Surround, TokenizerFile, component, unreadable};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use tokenizers::models::TrainerWrapper;
use tokenizers::{
    AddedVocabulary, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper,
};
use vocabulary::{MAX_TOKENS, Vocabulary};

/// Why a tokenizer cannot be opened or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The file is malformed, or uses features that no supported model needs.
    #[error("tokenizer.json cannot be used: {0}")]
    File(String),
    /// A text cannot be tokenized; only an unusual pre-tokenizer's pattern can cause this.
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
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    /// Finds all added tokens in a text.
    added: AddedVocabulary,
    /// Finds only those that are not special.
    added_plain: AddedVocabulary,
    /// The same tokens by id.
    added_by_id: BTreeMap<TokenId, Added>,
    surround: Surround,
    bpe: Bpe,
    decoder: Decoder,
    vocab_size: usize,
}

/// An added token.
#[derive(Debug)]
struct Added {
    content: String,
    /// The decoder's input: `content`, or its normalized form.
    piece: String,
    special: bool,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::File`] if it is malformed or not of a BPE model.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        let file: TokenizerFile =
            serde_json::from_slice(json).map_err(|e| TokenizerError::File(unreadable(json, &e)))?;
        Self::from_file(file).map_err(TokenizerError::File)
    }

    fn from_file(file: TokenizerFile) -> Result<Self, String> {
        let normalizer = component("normalizer", file.normalizer, NORMALIZERS)?;
        let pre_tokenizer = component("pre_tokenizer", file.pre_tokenizer, PRE_TOKENIZERS)?;
        let surround = Surround::from_json(file.post_processor)?;
        let decoder = Decoder::from_json(file.decoder)?;
        let bpe = Bpe::new(file.model)?;

        let added = added_vocabulary(&file.added_tokens, &bpe.vocabulary, normalizer.as_ref())?;
        let mut added_plain = added.clone();
        added_plain.set_encode_special_tokens(true);
        let mut added_by_id = BTreeMap::new();
        for AddedTokenFile { id, token } in file.added_tokens {
            let piece = added.simple_id_to_token(id).unwrap_or_else(|| token.content.clone());
            added_by_id.insert(id, Added { content: token.content, piece, special: token.special });
        }

        let vocab_size =
            bpe.vocabulary.len().max(added_by_id.last_key_value().map_or(0, |(id, _)| *id as usize + 1));
        if let Some(id) =
            surround.prefix.iter().chain(&surround.suffix).find(|&&id| id as usize >= vocab_size)
        {
            return Err(format!("its post_processor adds token {id}, but there are only {vocab_size}"));
        }
        Ok(Tokenizer {
            normalizer,
            pre_tokenizer,
            added,
            added_plain,
            added_by_id,
            surround,
            bpe,
            decoder,
            vocab_size,
        })
    }

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
        self.encode_into(text, &self.added, limit, &mut ids)?;
        if add_special {
            ids.extend_from_slice(&self.surround.suffix);
        }
        limit.check(ids.len())?;
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
        self.encode_into(text, &self.added_plain, limit, &mut ids)?;
        Ok(ids)
    }

    /// The most bytes of a text that one token can stand for; `usize::MAX` where nothing bounds them, as with tokens that
    /// swallow the whitespace around them. A text has at least as many tokens as its bytes divided by this.
    pub fn longest_token(&self) -> usize {
        usize::MAX
    }

    /// Adds the model's special tokens around those of a text, as [`Tokenizer::encode`] does with `add_special`.
    pub fn surround(&self, ids: &[TokenId]) -> Vec<TokenId> {
        [self.surround.prefix.as_slice(), ids, &self.surround.suffix].concat()
    }

    fn encode_into(
        &self,
        text: &str,
        added: &AddedVocabulary,
        limit: &EncodeLimit<'_>,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        self.encode_words(added.extract_and_normalize(self.normalizer.as_ref(), text), false, limit, ids)
    }

    /// Appends the ids of a text in which the added tokens are found; with `untrusted`, no other special ones.
    fn encode_words(
        &self,
        mut words: PreTokenizedString,
        untrusted: bool,
        limit: &EncodeLimit<'_>,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut words).map_err(|e| TokenizerError::Encode(e.to_string()))?;
        }
        let mut scratch = Scratch::default();
        for (word, _, tokens) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            limit.check(ids.len())?;
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None => {
                    let start = ids.len();
                    self.bpe.encode(word, &mut scratch, ids);
                    // A word of the vocabulary can be a special token; its characters are none.
                    let special = |&id: &TokenId| self.is_special(id) && !self.bpe.is_unknown(id);
                    if untrusted && ids[start..].iter().any(special) {
                        ids.truncate(start);
                        let chars = word.char_indices().map(|(at, c)| &word[at..at + c.len_utf8()]);
                        chars.for_each(|c| self.bpe.encode(c, &mut scratch, ids));
                    }
                }
            }
        }
        limit.check(ids.len())
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
        self.added.get_vocab().get(token).copied().or_else(|| self.bpe.vocabulary.id(token))
    }

    /// Spelling of a token; the inverse of [`Tokenizer::token_to_id`].
    pub fn id_to_token(&self, id: TokenId) -> Option<&str> {
        self.added_by_id.get(&id).map(|added| added.content.as_str()).or_else(|| self.bpe.vocabulary.text(id))
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
        self.added_by_id.get(&id).is_some_and(|added| added.special)
    }

    /// The decoder's input for a token.
    fn piece(&self, id: TokenId) -> Option<&str> {
        self.added_by_id.get(&id).map(|added| added.piece.as_str()).or_else(|| self.bpe.vocabulary.text(id))
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size).finish_non_exhaustive()
    }
}

/// The crate's matcher of added tokens, with its ids checked against those of the file.
fn added_vocabulary(
    tokens: &[AddedTokenFile],
    vocabulary: &Vocabulary,
    normalizer: Option<&NormalizerWrapper>,
) -> Result<AddedVocabulary, String> {
    let mut added = AddedVocabulary::new();
    let model = VocabularyModel(vocabulary, vocabulary.count());
    added
        .add_tokens(tokens.iter().map(|t| t.token.clone()), &model, normalizer)
        .map_err(|error| format!("its added tokens cannot be read: {error}"))?;
    for AddedTokenFile { id, token } in tokens {
        let given = added.get_vocab().get(&token.content);
        if given != Some(id) || *id >= MAX_TOKENS {
            return Err(format!(
                "added token {:?} says that its id is {id}, but by its place in the list it is {}",
                token.content,
                given.map_or("none".into(), u32::to_string),
            ));
        }
    }
    Ok(added)
}

/// The part of the crate's model trait that adding tokens needs: the vocabulary and its size.
struct VocabularyModel<'a>(&'a Vocabulary, usize);

impl tokenizers::Model for VocabularyModel<'_> {
    type Trainer = TrainerWrapper;

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.text(id).map(str::to_owned)
    }

    fn get_vocab_size(&self) -> usize {
        self.1
    }

    fn tokenize(&self, _: &str) -> tokenizers::Result<Vec<tokenizers::Token>> {
        Err("words are encoded by Bpe".into())
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        HashMap::new()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn get_trainer(&self) -> TrainerWrapper {
        TrainerWrapper::BpeTrainer(tokenizers::models::bpe::BpeTrainer::default())
    }
}
