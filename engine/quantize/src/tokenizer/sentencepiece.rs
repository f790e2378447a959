//! SentencePiece BPE with byte fallback, in the form transformers converts it to: "llama" in GGUF, and "gemma4", which lists
//! its merges.

use super::bpe::listed_merges;
use super::table::Kind;
use super::{AddedToken, Model, TokenTable, TokenizerJson, begin_template, published};
use crate::QuantizeError;
use crate::gguf::{Gguf, Value as GgufValue};
use serde_json::{Value, json};

/// The character that represents a space.
const SPACE: &str = "\u{2581}";
/// Longest token whose splits are tried: bounds the cost of a hostile vocabulary.
const MAX_TOKEN_CHARS: usize = 256;
/// More merges than any engine reads: Gemma 3 has 515,000.
const MAX_MERGES: usize = 1 << 21;

/// The name of the kind that lists its merges.
pub(super) const LISTED: &str = "gemma4";

/// Where a text gets a space before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// Nowhere.
    None,
    /// Also behind every special token within it.
    Everywhere,
    /// At its beginning.
    First,
}

/// What a SentencePiece vocabulary becomes a tokenizer with.
pub(super) struct Parts<'t> {
    pub(super) prefix: Prefix,
    pub(super) unknown: Option<&'t str>,
    pub(super) added_tokens: Vec<AddedToken<'t>>,
    pub(super) merges: Vec<(&'t str, &'t str)>,
    pub(super) post_processor: Value,
}

/// Writes the `tokenizer.json` of a GGUF file.
pub(super) fn rebuild<'a>(gguf: &Gguf<'a>, table: &TokenTable<'a>) -> Result<Vec<u8>, QuantizeError> {
    let listed = gguf.string("tokenizer.ggml.model")? == LISTED;
    let space_prefix = gguf.get("tokenizer.ggml.add_space_prefix").and_then(GgufValue::as_bool);
    let prefix = match space_prefix.unwrap_or(!listed) {
        false => Prefix::None,
        true if published::is_mistral_v3(table) => Prefix::First,
        true => Prefix::Everywhere,
    };
    // Often it is a control token like others; what is "unknown" besides may be padding.
    let unknown = table.named(gguf, "tokenizer.ggml.unknown_token_id")?.and_then(|id| table.text(id));
    let of_kind = || table.iter().find(|(_, _, kind)| *kind == Kind::Unknown).map(|(_, text, _)| text);
    let unknown = unknown.or_else(of_kind);
    let phi_3 = published::is_phi_3(table);
    let added_tokens = table
        .iter()
        .filter(|(_, text, kind)| match kind {
            Kind::Control | Kind::UserDefined => !text.is_empty(),
            Kind::Unknown => Some(*text) == unknown,
            _ => false,
        })
        .map(|(id, content, kind)| AddedToken {
            rstrip: phi_3 && published::phi_3_strips(content),
            ..AddedToken::new(id, content, kind != Kind::UserDefined)
        })
        .collect();
    let merges = if listed { listed_merges(gguf)? } else { merges(table, &scores(gguf, table)?)? };
    let post_processor = match table.begin(gguf)? {
        None => Value::Null,
        Some(begin) => begin_template(table, begin),
    };
    let parts = Parts { prefix, unknown, added_tokens, merges, post_processor };
    write(table, parts)
}

/// The score of each token.
fn scores(gguf: &Gguf<'_>, table: &TokenTable<'_>) -> Result<Vec<f64>, QuantizeError> {
    let wrong = |problem: String| QuantizeError::Tokenizer { problem };
    let scores: Vec<f64> =
        gguf.array("tokenizer.ggml.scores")?.iter().filter_map(|score| score.as_f64()).collect();
    if scores.len() != table.len() {
        return Err(wrong(format!("{} tokens, but {} scores", table.len(), scores.len())));
    }
    // Programs that found no scores wrote the same one everywhere.
    let mut normal = table.iter().zip(&scores).filter(|((_, _, kind), _)| *kind == Kind::Normal);
    let first = normal.next().map(|(_, score)| score);
    let mut others = normal.map(|(_, score)| Some(score)).peekable();
    if others.peek().is_some() && others.all(|score| score == first) {
        return Err(wrong(
            "all its tokens have the same score, so nothing says which are merged first".into(),
        ));
    }
    Ok(scores)
}

/// Writes a `tokenizer.json`.
pub(super) fn write(table: &TokenTable<'_>, parts: Parts<'_>) -> Result<Vec<u8>, QuantizeError> {
    let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let (normalizer, pre_tokenizer) = match parts.prefix {
        Prefix::None => (spaces, Value::Null),
        Prefix::Everywhere => {
            let prepend = json!({ "type": "Prepend", "prepend": SPACE });
            (json!({ "type": "Sequence", "normalizers": [prepend, spaces] }), Value::Null)
        }
        Prefix::First => {
            let metaspace = json!({ "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": false });
            (Value::Null, metaspace)
        }
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if parts.prefix != Prefix::None {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let json = TokenizerJson {
        version: "1.0",
        truncation: None,
        padding: None,
        added_tokens: parts.added_tokens,
        normalizer,
        pre_tokenizer,
        post_processor: parts.post_processor,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: Model {
            r#type: "BPE",
            dropout: None,
            unk_token: parts.unknown,
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: true,
            byte_fallback: table.iter().any(|(_, _, kind)| kind == Kind::Byte),
            ignore_merges: false,
            vocab: table.iter().map(|(id, text, _)| (text, id)).collect(),
            merges: parts.merges,
        },
    };
    serde_json::to_vec(&json).map_err(|error| QuantizeError::Tokenizer { problem: error.to_string() })
}

/// The merges that the scores imply: every split of a token into two tokens, best score first.
///
/// Tokens that the trainer of a model defined come before those that it learned. Programs that wrote a file's added tokens
/// wrote over their score, which is 0.
pub(super) fn merges<'a>(
    table: &TokenTable<'a>,
    scores: &[f64],
) -> Result<Vec<(&'a str, &'a str)>, QuantizeError> {
    struct Ranked<'a> {
        score: f64,
        lengths: (usize, usize),
        pair: (&'a str, &'a str),
    }
    let learned = table.learned();
    let mut ranked = Vec::new();
    for ((id, text, kind), &score) in table.iter().zip(scores) {
        let score = match kind {
            // -0.0, the best score of many vocabularies, becomes 0.0.
            Kind::Normal => score + 0.0,
            Kind::UserDefined if id < learned => 0.0,
            _ => continue,
        };
        let length = text.chars().count();
        if length > MAX_TOKEN_CHARS {
            continue;
        }
        let mut splits: Vec<_> = text
            .char_indices()
            .enumerate()
            .skip(1)
            .filter_map(|(count, (at, _))| {
                let pair = text.split_at_checked(at)?;
                Some((table.id(pair.0)?, table.id(pair.1)?, (count, length - count), pair))
            })
            .collect();
        splits.sort_unstable();
        ranked.extend(splits.into_iter().map(|(_, _, lengths, pair)| Ranked { score, lengths, pair }));
        if ranked.len() > MAX_MERGES {
            let problem = format!("its tokens merge in more than {MAX_MERGES} ways");
            return Err(QuantizeError::Tokenizer { problem });
        }
    }
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.lengths.cmp(&a.lengths)));
    Ok(ranked.into_iter().map(|ranked| ranked.pair).collect())
}
