//! SentencePiece BPE with byte fallback, "llama" in GGUF, in the form transformers converts it to.

use super::table::Kind;
use super::{AddedToken, Model, TokenTable, TokenizerJson, begin_template};
use crate::QuantizeError;
use crate::gguf::{Gguf, Value as GgufValue};
use serde_json::{Value, json};

/// The character that represents a space.
const SPACE: &str = "\u{2581}";
/// Longest token whose splits are tried: bounds the cost of a hostile vocabulary.
const MAX_TOKEN_CHARS: usize = 256;

pub(super) fn rebuild(gguf: &Gguf<'_>, table: &TokenTable<'_>) -> Result<Vec<u8>, QuantizeError> {
    let wrong = |problem: String| QuantizeError::Tokenizer { problem };
    let scores: Vec<f64> =
        gguf.array("tokenizer.ggml.scores")?.iter().filter_map(|score| score.as_f64()).collect();
    if scores.len() != table.len() {
        return Err(wrong(format!("{} tokens, but {} scores", table.len(), scores.len())));
    }
    let space_prefix =
        gguf.get("tokenizer.ggml.add_space_prefix").and_then(GgufValue::as_bool).unwrap_or(true);
    let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let normalizer = if space_prefix {
        let prepend = json!({ "type": "Prepend", "prepend": SPACE });
        json!({ "type": "Sequence", "normalizers": [prepend, spaces] })
    } else {
        spaces
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if space_prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let unknown = table.iter().find(|(_, _, kind)| *kind == Kind::Unknown).map(|(_, text, _)| text);
    let added_tokens = table
        .iter()
        .filter(|(_, text, kind)| {
            matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown) && !text.is_empty()
        })
        .map(|(id, content, kind)| AddedToken {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: kind != Kind::UserDefined,
        })
        .collect();
    let json = TokenizerJson {
        version: "1.0",
        truncation: None,
        padding: None,
        added_tokens,
        normalizer,
        pre_tokenizer: Value::Null,
        post_processor: match table.begin(gguf)? {
            None => Value::Null,
            Some(begin) => begin_template(table, begin),
        },
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: Model {
            r#type: "BPE",
            dropout: None,
            unk_token: unknown,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: true,
            byte_fallback: table.iter().any(|(_, _, kind)| kind == Kind::Byte),
            ignore_merges: false,
            vocab: table.iter().map(|(id, text, _)| (text, id)).collect(),
            merges: merges(table, &scores),
        },
    };
    serde_json::to_vec(&json).map_err(|error| wrong(error.to_string()))
}

/// The merges that the scores imply: every split of a token into two tokens, best score first.
fn merges<'a>(table: &TokenTable<'a>, scores: &[f64]) -> Vec<(&'a str, &'a str)> {
    let mut ranked = Vec::new();
    for ((_, text, kind), &score) in table.iter().zip(scores) {
        if kind != Kind::Normal || text.chars().count() > MAX_TOKEN_CHARS {
            continue;
        }
        let mut splits: Vec<_> = text
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = text.split_at_checked(at)?;
                Some((table.id(left)?, table.id(right)?, left, right))
            })
            .collect();
        splits.sort_unstable();
        ranked.extend(splits.into_iter().map(|(_, _, left, right)| (score, left, right)));
    }
    ranked.sort_by(|a, b| {
        let lengths = |(_, left, right): &(f64, &str, &str)| (left.chars().count(), right.chars().count());
        b.0.total_cmp(&a.0).then_with(|| lengths(b).cmp(&lengths(a)))
    });
    ranked.into_iter().map(|(_, left, right)| (left, right)).collect()
}
