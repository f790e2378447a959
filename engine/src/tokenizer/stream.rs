//! Streaming detokenizers.

use super::Tokenizer;
use super::decoder::DecoderState;
use crate::TokenId;

/// A streaming detokenizer: its texts, concatenated, equal [`Tokenizer::decode`] of all tokens.
///
/// The bytes of a character may come from several tokens; they are held back until the character is complete.
///
/// ```
/// use edgellm::tokenizer::{Detokenizer, Tokenizer};
///
/// // In the alphabet of byte-level models, "Ã" and "©" stand for the bytes C3 and A9: together an é.
/// let json = r#"{"decoder": {"type": "ByteLevel"},
///     "model": {"type": "BPE", "vocab": {"caf": 0, "Ã": 1, "©": 2}, "merges": []}}"#;
/// let tokenizer = Tokenizer::from_json(json.as_bytes())?;
/// let mut stream = Detokenizer::new(&tokenizer, true);
/// let mut text = String::new();
/// stream.push(0, &mut text);
/// stream.push(1, &mut text);
/// assert_eq!(text, "caf");
/// stream.push(2, &mut text);
/// assert_eq!(text, "café");
/// # Ok::<(), edgellm::tokenizer::TokenizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Detokenizer<'t> {
    tokenizer: &'t Tokenizer,
    stream: TokenStream,
}

impl<'t> Detokenizer<'t> {
    /// Starts a text. With `skip_special`, special tokens have no text.
    pub fn new(tokenizer: &'t Tokenizer, skip_special: bool) -> Self {
        Detokenizer { tokenizer, stream: TokenStream::new(tokenizer, skip_special) }
    }

    /// Appends the text that became certain with `id`: sometimes none, or more than this token's own.
    pub fn push(&mut self, id: TokenId, text: &mut String) {
        self.stream.push(self.tokenizer, id, text);
    }

    /// Ends the text: appends what was held back, as replacement characters where it is not text, and starts over.
    pub fn finish(&mut self, text: &mut String) {
        self.stream.finish(self.tokenizer, text);
    }
}

/// A [`Detokenizer`] that does not borrow the tokenizer: every call must pass the same one.
#[derive(Clone, Debug)]
pub(crate) struct TokenStream {
    skip_special: bool,
    state: DecoderState,
}

impl TokenStream {
    /// Starts a text.
    pub(crate) fn new(tokenizer: &Tokenizer, skip_special: bool) -> Self {
        TokenStream { skip_special, state: DecoderState::start(&tokenizer.decoder) }
    }

    /// Continues a text that other tokens began. What a decoder does at the start of a text only, such as stripping a
    /// space, it does not do here.
    pub(crate) fn continuing(skip_special: bool) -> Self {
        TokenStream { skip_special, state: DecoderState::middle() }
    }

    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, id: TokenId, text: &mut String) {
        if self.skip_special && tokenizer.is_special(id) {
            return;
        }
        if let Some(piece) = tokenizer.piece(id) {
            tokenizer.decoder.push(&mut self.state, piece, text);
        }
    }

    pub(crate) fn finish(&mut self, tokenizer: &Tokenizer, text: &mut String) {
        tokenizer.decoder.finish(&mut self.state, text);
    }
}
