//! Byte-level BPE, "gpt2" in GGUF.

use super::table::Kind;
use super::{AddedToken, Model, TokenTable, TokenizerJson, begin_template, pre_tokenizer};
use crate::QuantizeError;
use crate::gguf::{Gguf, Value as GgufValue};
use serde_json::json;

pub(super) fn rebuild(gguf: &Gguf<'_>, table: &TokenTable<'_>) -> Result<Vec<u8>, QuantizeError> {
    let wrong = |problem: String| QuantizeError::Tokenizer { problem };
    let name = table.pre_tokenizer(gguf).ok_or(QuantizeError::NoPreTokenizer)?;
    let splitting = pre_tokenizer::splitting(name)?;
    let merges = listed_merges(gguf)?;
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
    let added_tokens = table
        .iter()
        .filter(|(_, text, kind)| matches!(kind, Kind::Control | Kind::UserDefined) && !text.is_empty())
        .map(|(id, content, kind)| AddedToken::new(id, content, kind == Kind::Control))
        .collect();
    let post_processor = match table.begin(gguf)? {
        None => byte_level.clone(),
        Some(begin) => {
            json!({ "type": "Sequence", "processors": [byte_level, begin_template(table, begin)] })
        }
    };
    let ignore_merges = match gguf.get("tokenizer.ggml.ignore_merges").and_then(GgufValue::as_bool) {
        Some(ignore) => ignore,
        None => splitting.ignore_merges,
    };
    let json = TokenizerJson {
        version: "1.0",
        truncation: None,
        padding: None,
        added_tokens,
        normalizer: splitting.normalizer,
        pre_tokenizer: splitting.pre_tokenizer,
        post_processor,
        decoder: byte_level,
        model: Model {
            r#type: "BPE",
            dropout: None,
            unk_token: None,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges,
            // Unused tokens only pad the embedding to a round number.
            vocab: table
                .iter()
                .filter(|(_, _, kind)| *kind != Kind::Unused)
                .map(|(id, text, _)| (text, id))
                .collect(),
            merges,
        },
    };
    serde_json::to_vec(&json).map_err(|error| wrong(error.to_string()))
}

/// The merges that a file lists, best first: two tokens each, with a space between them.
pub(super) fn listed_merges<'a>(gguf: &Gguf<'a>) -> Result<Vec<(&'a str, &'a str)>, QuantizeError> {
    let mut merges = Vec::new();
    for (rank, merge) in gguf.array("tokenizer.ggml.merges")?.iter().enumerate() {
        let pair = merge.as_str().and_then(|merge| {
            // The first character is never the separator.
            let from = merge.chars().next()?.len_utf8();
            let at = from + merge.get(from..)?.find(' ')?;
            Some((merge.get(..at)?, merge.get(at + 1..)?))
        });
        merges.push(pair.ok_or_else(|| QuantizeError::Tokenizer {
            problem: format!("merge {rank} is {}", merge.describe()),
        })?);
    }
    Ok(merges)
}
