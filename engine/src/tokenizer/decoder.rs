//! Detokenizing: the `decoder` of a tokenizer.json.

use serde::Deserialize;
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
    pub(super) fn from_json(json: serde_json::Value) -> Result<Self, String> {
        if json.is_null() {
            return Ok(Decoder::Spaced);
        }
        let unsupported = || format!("its decoder is not supported: {json}");
        let file = DecoderFile::deserialize(&json).map_err(|_| unsupported())?;
        let steps = match file {
            DecoderFile::ByteLevel => return Ok(Decoder::ByteLevel),
            DecoderFile::Sequence { decoders } => decoders,
            step => vec![step],
        };
        if let [DecoderFile::ByteLevel] = steps.as_slice() {
            return Ok(Decoder::ByteLevel);
        }
        let mut pieces = Pieces::default();
        let mut fused = false;
        for step in steps {
            // The order of real files; another order would mean something else.
            let text_step = !pieces.byte_fallback && !fused && pieces.strip.is_none();
            match step {
                DecoderFile::Replace { pattern: PatternFile::String(from), content }
                    if text_step && !from.is_empty() =>
                {
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
                    pieces.strip = Some((content, start));
                }
                _ => return Err(unsupported()),
            }
        }
        Ok(Decoder::Pieces(pieces))
    }
}

/// The state of a decoder between the tokens of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct DecoderState {
    /// Bytes that may still become a character.
    held: Vec<u8>,
    /// A token has been seen.
    started: bool,
    /// Characters stripped from the start so far; `None` once stripping is over.
    stripped: Option<usize>,
}

impl DecoderState {
    pub(super) fn new(decoder: &Decoder) -> Self {
        let stripped = matches!(decoder, Decoder::Pieces(Pieces { strip: Some(_), .. })).then_some(0);
        DecoderState { stripped, ..Default::default() }
    }
}

impl Decoder {
    /// Appends the text that is certain after `token`.
    pub(super) fn push(&self, state: &mut DecoderState, token: &str, text: &mut String) {
        match self {
            Decoder::ByteLevel => {
                push_byte_level(token, &mut state.held);
                drain_utf8(&mut state.held, text);
            }
            Decoder::Pieces(pieces) => pieces.push(state, token, text),
            Decoder::Spaced => {
                if state.started {
                    text.push(' ');
                }
                text.push_str(token);
            }
        }
        state.started = true;
    }

    /// The bytes of a token in the middle of a text.
    pub(super) fn bytes(&self, token: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Decoder::ByteLevel => push_byte_level(token, &mut bytes),
            Decoder::Pieces(pieces) => {
                let token = pieces.respell(token, true);
                match byte_token(&token).filter(|_| pieces.byte_fallback) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend_from_slice(token.as_bytes()),
                }
            }
            Decoder::Spaced => {
                bytes.push(b' ');
                bytes.extend_from_slice(token.as_bytes());
            }
        }
        bytes
    }

    /// Appends what was held back, as replacement characters where it is not text.
    pub(super) fn finish(&self, state: &mut DecoderState, text: &mut String) {
        match self {
            Decoder::Pieces(pieces) => pieces.flush(state, text),
            Decoder::ByteLevel if !state.held.is_empty() => text.push(char::REPLACEMENT_CHARACTER),
            Decoder::ByteLevel | Decoder::Spaced => {}
        }
        *state = DecoderState::new(self);
    }
}

impl Pieces {
    fn push(&self, state: &mut DecoderState, token: &str, text: &mut String) {
        let token = self.respell(token, state.started);
        if self.byte_fallback
            && let Some(byte) = byte_token(&token)
        {
            state.held.push(byte);
            return;
        }
        self.flush(state, text);
        self.emit(state, &token, text);
    }

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

    /// A run of byte tokens is text if all of it is; else every byte becomes a replacement character.
    fn flush(&self, state: &mut DecoderState, text: &mut String) {
        if state.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut state.held);
        match std::str::from_utf8(&held) {
            Ok(run) => self.emit(state, run, text),
            Err(_) => held.iter().for_each(|_| self.emit(state, "\u{FFFD}", text)),
        }
        state.held = held;
        state.held.clear();
    }

    fn emit(&self, state: &mut DecoderState, mut piece: &str, text: &mut String) {
        if let (Some((content, limit)), Some(stripped)) = (self.strip, &mut state.stripped) {
            while *stripped < limit
                && let Some(rest) = piece.strip_prefix(content)
            {
                piece = rest;
                *stripped += 1;
            }
            if !piece.is_empty() || *stripped >= limit {
                state.stripped = None;
            }
        }
        text.push_str(piece);
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

/// The byte that a character of the byte-level alphabet stands for: printable Latin-1 for itself, the rest from U+0100.
fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        c @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(c as u8),
        c @ 0x100..=0x120 => Some((c - 0x100) as u8),
        c @ 0x121..=0x142 => Some((c - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The byte of a token such as `<0x0A>`.
fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() != 2 {
        return None;
    }
    u8::from_str_radix(hex, 16).ok()
}
