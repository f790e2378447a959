//! `tokenizer.model`: SentencePiece's vocabulary, a Protocol Buffers message.
//!
//! Read are the fields that decide about ids, by the numbers in sentencepiece_model.proto; others are skipped.

use super::table::Kind;
use crate::QuantizeError;

/// More tokens than any vocabulary has.
const MAX_PIECES: usize = 1 << 20;
/// What a trainer calls an unknown token if nobody says otherwise.
const UNKNOWN: &str = "<unk>";

/// A message that ends too early or breaks its rules.
struct Damaged;

fn utf8(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged)
}

/// A vocabulary.
#[derive(Debug, PartialEq)]
pub(super) struct SentencePieceModel<'a> {
    /// Text, score and kind of each token; its place is its id.
    pub(super) pieces: Vec<(&'a str, f32, Kind)>,
    /// How it was trained: 1 Unigram, 2 BPE, 3 words, 4 characters.
    pub(super) algorithm: u64,
    /// The unknown token.
    pub(super) unknown: &'a str,
    /// Whether it changes characters or drops spaces before anything else.
    pub(super) normalizes: bool,
    /// Whether a text gets a space before it.
    pub(super) prefix: bool,
}

impl<'a> SentencePieceModel<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`QuantizeError::Tokenizer`] if it is damaged or no such file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, QuantizeError> {
        Self::read(bytes).map_err(|Damaged| QuantizeError::Tokenizer {
            problem: "tokenizer.model is not a whole SentencePiece file".to_string(),
        })
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut model = SentencePieceModel {
            pieces: Vec::new(),
            algorithm: 1,
            unknown: UNKNOWN,
            normalizes: true,
            prefix: true,
        };
        // The trainer's default is to drop spaces at the ends and double ones within.
        let (mut table, mut drops_spaces) = (false, true);
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.field()? {
            match (number, value) {
                (1, Field::Bytes(piece)) if model.pieces.len() < MAX_PIECES => {
                    model.pieces.push(self::piece(piece)?)
                }
                (1, _) => return Err(Damaged),
                (2, Field::Bytes(trainer)) => {
                    let mut fields = Fields(trainer);
                    while let Some((number, value)) = fields.field()? {
                        match (number, value) {
                            (3, Field::Number(algorithm)) => model.algorithm = algorithm,
                            (45, Field::Bytes(text)) => model.unknown = utf8(text)?,
                            _ => {}
                        }
                    }
                }
                (3, Field::Bytes(normalizer)) => {
                    let mut fields = Fields(normalizer);
                    while let Some((number, value)) = fields.field()? {
                        match (number, value) {
                            (2, Field::Bytes(map)) => table = !map.is_empty(),
                            (3, Field::Number(add)) => model.prefix = add != 0,
                            (4, Field::Number(drop)) => drops_spaces = drop != 0,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        model.normalizes = table || drops_spaces;
        if model.pieces.is_empty() { Err(Damaged) } else { Ok(model) }
    }
}

/// Text, score and kind of a token.
fn piece(bytes: &[u8]) -> Result<(&str, f32, Kind), Damaged> {
    let (mut text, mut score, mut kind) = ("", 0.0, Kind::Normal);
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.field()? {
        match (number, value) {
            (1, Field::Bytes(bytes)) => text = utf8(bytes)?,
            (2, Field::Four(bytes)) => score = f32::from_le_bytes(bytes),
            (3, Field::Number(number)) => kind = Kind::from_number(Some(number)),
            _ => {}
        }
    }
    Ok((text, score, kind))
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Four([u8; 4]),
    Bytes(&'a [u8]),
    /// Of a kind that none of the fields here has.
    Other,
}

/// The fields of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field: its number and value.
    fn field(&mut self) -> Result<Option<(u64, Field<'a>)>, Damaged> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Field::Number(self.number()?),
            1 => self.take(8).map(|_| Field::Other)?,
            2 => {
                let length = self.number()?;
                Field::Bytes(self.take(usize::try_from(length).map_err(|_| Damaged)?)?)
            }
            5 => Field::Four(self.take(4)?.try_into().map_err(|_| Damaged)?),
            _ => return Err(Damaged),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of up to ten bytes, seven bits each.
    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }
}
