//! Detokenizing: the `decoder` of a tokenizer.json.

use super::bounds::{COMPONENTS, CONTENT_BYTES, DECODER_GROWTH, STRIPPED, clip, component, read, within};
use super::byte_level::byte_of;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The decoders of BPE models.
#[derive(Debug, PartialEq)]
pub(super) enum Decoder {
    /// Every character of a token stands for a byte (GPT-2 and its successors).
    ByteLevel,
    /// Tokens are text with another character for spaces, and `<0x..>` for bytes outside the vocabulary (SentencePiece).
    Pieces(Pieces),
    /// No decoder: tokens joined by spaces, as in Hugging Face's library.
    Spaced,
}

/// The steps of a SentencePiece-like decoder.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pieces {
    replace: Vec<(String, String)>,
    /// Replaced by a space, or by nothing in the first token if `drop_first`.
    metaspace: Option<(char, bool)>,
    byte_fallback: bool,
    /// Up to this many of this character are dropped at the start of the text.
    strip: Option<(char, usize)>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum DecoderFile {
    ByteLevel,
    ByteFallback,
    Fuse,
    Replace { pattern: PatternFile, content: String },
    Strip { content: char, start: usize, stop: usize },
    Metaspace { replacement: char, prepend_scheme: Option<String>, add_prefix_space: Option<bool> },
    Sequence { decoders: Vec<DecoderFile> },
}

#[derive(Deserialize)]
enum PatternFile {
    String(String),
}

impl Decoder {
    /// Reads the `decoder` of a tokenizer.json.
    ///
    /// # Errors
    /// A message that says what is not supported.
    pub(super) fn from_json(json: Option<&RawValue>) -> Result<Self, String> {
        let Some(json) = component("decoder", json)? else { return Ok(Decoder::Spaced) };
        let unsupported = || format!("its decoder is not supported: {}", clip(json));
        let file: DecoderFile = read("decoder", json)?;
        let steps = match file {
            DecoderFile::ByteLevel => return Ok(Decoder::ByteLevel),
            DecoderFile::Sequence { decoders } => decoders,
            step => vec![step],
        };
        if let [DecoderFile::ByteLevel] = steps.as_slice() {
            return Ok(Decoder::ByteLevel);
        }
        within("decoders", steps.len(), COMPONENTS)?;
        let mut pieces = Pieces::default();
        let (mut fused, mut growth) = (false, 1_usize);
        for step in steps {
            // The order of real files; another order would mean something else.
            let text_step = !pieces.byte_fallback && !fused && pieces.strip.is_none();
            match step {
                DecoderFile::Replace { pattern: PatternFile::String(from), content }
                    if text_step && !from.is_empty() =>
                {
                    within("decoder's bytes that are replaced", from.len(), CONTENT_BYTES)?;
                    within("decoder's bytes that replace others", content.len(), CONTENT_BYTES)?;
                    growth = growth.saturating_mul(content.len().div_ceil(from.len()).max(1));
                    pieces.replace.push((from, content));
                }
                DecoderFile::Metaspace { replacement, prepend_scheme, add_prefix_space }
                    if text_step && pieces.metaspace.is_none() && pieces.replace.is_empty() =>
                {
                    let never = prepend_scheme.as_deref() == Some("never") || add_prefix_space == Some(false);
                    pieces.metaspace = Some((replacement, !never));
                }
                DecoderFile::ByteFallback if text_step => pieces.byte_fallback = true,
                DecoderFile::Fuse if pieces.strip.is_none() => fused = true,
                DecoderFile::Strip { content, start, stop: 0 } if fused && pieces.strip.is_none() => {
                    within("decoder's stripped characters", start, STRIPPED)?;
                    pieces.strip = Some((content, start));
                }
                _ => return Err(unsupported()),
            }
        }
        within("decoder's bytes for a byte of a token", growth, DECODER_GROWTH)?;
        Ok(Decoder::Pieces(pieces))
    }
}

/// The state of a decoder between the tokens of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct DecoderState {
    /// Bytes that may still become a character.
    held: Vec<u8>,
    /// A token has come before.
    started: bool,
    /// Characters that may still be stripped, all of which are at the start of the text.
    strippable: usize,
}

impl DecoderState {
    /// The start of a text.
    pub(super) fn start(decoder: &Decoder) -> Self {
        let strippable = decoder.strip().map_or(0, |(_, limit)| limit);
        DecoderState { strippable, ..Default::default() }
    }

    /// The middle of a text, which other tokens began.
    pub(super) fn middle() -> Self {
        DecoderState { started: true, ..Default::default() }
    }
}

impl Decoder {
    /// Appends the text that is certain after `token`: every character that is complete.
    pub(super) fn push(&self, state: &mut DecoderState, token: &str, text: &mut String) {
        self.push_bytes(token, state.started, &mut state.held);
        state.started = true;
        let from = text.len();
        drain_utf8(&mut state.held, text);
        if let Some((content, _)) = self.strip() {
            let stripped = text[from..].chars().take(state.strippable).take_while(|&c| c == content).count();
            text.drain(from..from + stripped * content.len_utf8());
            state.strippable -= stripped;
            if text.len() > from {
                state.strippable = 0;
            }
        }
    }

    /// The bytes of a token in the middle of a text.
    pub(super) fn bytes(&self, token: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.push_bytes(token, true, &mut bytes);
        bytes
    }

    /// Appends what was held back, the start of a character that did not come, as a replacement character.
    pub(super) fn finish(&self, state: &mut DecoderState, text: &mut String) {
        if !state.held.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        *state = DecoderState::start(self);
    }

    /// Appends the bytes of a token; `started` if others came before it.
    fn push_bytes(&self, token: &str, started: bool, bytes: &mut Vec<u8>) {
        match self {
            Decoder::ByteLevel => push_byte_level(token, bytes),
            Decoder::Pieces(pieces) => {
                let token = pieces.respell(token, started);
                match byte_token(&token).filter(|_| pieces.byte_fallback) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend_from_slice(token.as_bytes()),
                }
            }
            Decoder::Spaced => {
                bytes.extend(started.then_some(b' '));
                bytes.extend_from_slice(token.as_bytes());
            }
        }
    }

    /// The character that is stripped from the start of a text, and how many of it.
    fn strip(&self) -> Option<(char, usize)> {
        match self {
            Decoder::Pieces(pieces) => pieces.strip,
            Decoder::ByteLevel | Decoder::Spaced => None,
        }
    }
}

impl Pieces {
    /// A token with spaces written as spaces; `started` if others came before it.
    fn respell<'t>(&self, token: &'t str, started: bool) -> Cow<'t, str> {
        let mut token = Cow::Borrowed(token);
        if let Some((replacement, drop_first)) = self.metaspace
            && token.contains(replacement)
        {
            token = token.replace(replacement, if drop_first && !started { "" } else { " " }).into();
        }
        for (from, to) in &self.replace {
            if token.contains(from.as_str()) {
                token = token.replace(from.as_str(), to).into();
            }
        }
        token
    }
}

/// Appends the bytes that a byte-level token stands for.
fn push_byte_level(token: &str, bytes: &mut Vec<u8>) {
    let before = bytes.len();
    bytes.extend(token.chars().map_while(byte_of));
    if bytes.len() - before != token.chars().count() {
        // Not in the byte-level alphabet: an added token, used as it is.
        bytes.truncate(before);
        bytes.extend_from_slice(token.as_bytes());
    }
}

/// Moves complete characters from `bytes` to `text`, as `String::from_utf8_lossy` would convert the whole; the start of
/// an incomplete character stays.
fn drain_utf8(bytes: &mut Vec<u8>, text: &mut String) {
    let mut rest = bytes.as_slice();
    loop {
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, None),
            Err(error) => {
                let (valid, _) = rest.split_at(error.valid_up_to());
                // Valid by the line above, so never the default.
                (std::str::from_utf8(valid).unwrap_or_default(), Some(error.error_len()))
            }
        };
        text.push_str(valid);
        rest = &rest[valid.len()..];
        match invalid {
            Some(Some(length)) => {
                text.push(char::REPLACEMENT_CHARACTER);
                rest = &rest[length..];
            }
            Some(None) | None => break,
        }
    }
    let decided = bytes.len() - rest.len();
    bytes.drain(..decided);
}

/// The byte of a token such as `<0x0A>`.
fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}
