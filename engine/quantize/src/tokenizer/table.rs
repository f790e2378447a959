//! The tokens of a GGUF file, and which of them begin and end texts.

use super::{published, sentencepiece};
use crate::QuantizeError;
use crate::gguf::{Gguf, Value};
use std::collections::{BTreeSet, HashMap};

/// The kind of a token, from `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    /// The kind of this number, which is that of SentencePiece.
    pub(super) fn from_number(number: Option<u64>) -> Self {
        match number {
            Some(2) => Kind::Unknown,
            Some(3) => Kind::Control,
            Some(4) => Kind::UserDefined,
            Some(5) => Kind::Unused,
            Some(6) => Kind::Byte,
            _ => Kind::Normal,
        }
    }
}

/// The longest run of spaces that is a token.
const SPACES: &str = "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁";

/// The vocabulary, by id.
pub(crate) struct TokenTable<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<Kind>,
    ids: HashMap<&'a str, usize>,
}

/// Whether a special token with this text ends an answer or a turn, whatever the model's files say.
pub(crate) fn ends_an_answer(text: &str) -> bool {
    const ENDS: [&str; 9] = [
        "<|endoftext|>",
        "<|im_end|>",
        "<|end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<end_of_turn>",
        "<|end_of_turn|>",
        // Gemma 4.
        "<turn|>",
    ];
    ENDS.contains(&text)
}

impl<'a> TokenTable<'a> {
    pub(crate) fn read(gguf: &Gguf<'a>) -> Result<Self, QuantizeError> {
        let array = gguf.array("tokenizer.ggml.tokens")?;
        let tokens: Vec<&str> = array.iter().filter_map(|value| value.as_str()).collect();
        if tokens.len() != array.len() {
            let problem = "tokenizer.ggml.tokens holds values that are not strings".to_string();
            return Err(QuantizeError::Tokenizer { problem });
        }
        let mut kinds = vec![Kind::Normal; tokens.len()];
        if gguf.get("tokenizer.ggml.token_type").is_some() {
            let types = gguf.array("tokenizer.ggml.token_type")?;
            if types.len() != tokens.len() {
                let problem = format!("{} tokens, but {} token types", tokens.len(), types.len());
                return Err(QuantizeError::Tokenizer { problem });
            }
            for (kind, value) in kinds.iter_mut().zip(types.iter()) {
                *kind = Kind::from_number(value.as_u64());
            }
        }
        let mut table = Self::new(tokens, kinds);
        if matches!(
            gguf.get("tokenizer.ggml.model").and_then(Value::as_str),
            Some("llama" | sentencepiece::LISTED)
        ) {
            table.respell_spaces();
        }
        Ok(table)
    }

    /// A vocabulary whose ids are the places of its tokens.
    pub(super) fn new(tokens: Vec<&'a str>, kinds: Vec<Kind>) -> Self {
        let ids = tokens.iter().enumerate().map(|(id, &token)| (token, id)).collect();
        TokenTable { tokens, kinds, ids }
    }

    /// The first token that was learned; before it are those that the trainer of a SentencePiece model defined.
    pub(super) fn learned(&self) -> usize {
        self.kinds.iter().position(|kind| *kind == Kind::Normal).unwrap_or(0)
    }

    /// Spells runs of spaces as SentencePiece does, which keeps no spaces in its vocabulary. Programs that write GGUF files
    /// turn them into spaces, which are another token: it would be found before its neighbours are merged.
    fn respell_spaces(&mut self) {
        let learned = self.learned();
        for (id, (token, kind)) in self.tokens.iter_mut().zip(&self.kinds).enumerate().take(learned) {
            let run = SPACES.get(..token.len() * '\u{2581}'.len_utf8());
            if let Some(run) =
                run.filter(|_| *kind == Kind::UserDefined && token.bytes().all(|byte| byte == b' '))
            {
                *token = run;
                self.ids.insert(run, id);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// (id, text, kind) of all tokens.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &'a str, Kind)> {
        self.tokens.iter().zip(&self.kinds).enumerate().map(|(id, (&text, &kind))| (id, text, kind))
    }

    pub(super) fn id(&self, text: &str) -> Option<usize> {
        self.ids.get(text).copied()
    }

    pub(crate) fn text(&self, id: u32) -> Option<&'a str> {
        self.tokens.get(id as usize).copied()
    }

    /// The name of the pre-tokenizer. Files of early 2024 lack it; then it is that of the published vocabulary which this one
    /// is, and no other: text that is split in another way than in training gives other tokens.
    pub(super) fn pre_tokenizer(&self, gguf: &Gguf<'a>) -> Option<&'a str> {
        match gguf.get("tokenizer.ggml.pre").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => Some(name),
            _ => published::pre_tokenizer(self),
        }
    }

    /// The id in metadata key `key`, if it is in the vocabulary.
    pub(crate) fn named(&self, gguf: &Gguf<'_>, key: &str) -> Result<Option<u32>, QuantizeError> {
        if gguf.get(key).is_none() {
            return Ok(None);
        }
        // Some files use -1 or 2^32 - 1 for "none".
        let id = gguf.get(key).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        Ok(id.filter(|&id| (id as usize) < self.len()))
    }

    /// The token that begins a text, if any, and those that end an answer.
    pub(crate) fn ends(&self, gguf: &Gguf<'a>) -> Result<(Option<u32>, Vec<u32>), QuantizeError> {
        let mut ends = BTreeSet::new();
        for key in ["eos", "eot", "eom"] {
            ends.extend(self.named(gguf, &format!("tokenizer.ggml.{key}_token_id"))?);
        }
        for (id, text, kind) in self.iter() {
            if matches!(kind, Kind::Control | Kind::UserDefined) && ends_an_answer(text) {
                ends.extend(u32::try_from(id).ok());
            }
        }
        Ok((self.begin(gguf)?, ends.into_iter().collect()))
    }

    /// The token that begins a text. If the file does not say whether there is one, llama.cpp's rule for the kind of
    /// tokenizer applies.
    pub(super) fn begin(&self, gguf: &Gguf<'a>) -> Result<Option<u32>, QuantizeError> {
        let add = match gguf.get("tokenizer.ggml.add_bos_token").and_then(Value::as_bool) {
            Some(add) => add,
            None => {
                gguf.get("tokenizer.ggml.model").and_then(Value::as_str) == Some("llama")
                    || matches!(
                        self.pre_tokenizer(gguf),
                        Some("llama-bpe" | "llama3" | "llama-v3" | "tekken" | "lfm2")
                    )
            }
        };
        if add { self.named(gguf, "tokenizer.ggml.bos_token_id") } else { Ok(None) }
    }
}
