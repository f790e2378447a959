//! Builds a Hugging Face `tokenizer.json` from the vocabulary in a GGUF file.

mod bpe;
mod pre_tokenizer;
mod sentencepiece;
mod table;

pub(crate) use table::{TokenTable, ends_an_answer};

use crate::QuantizeError;
use crate::gguf::Gguf;
use edgellm::tokenizer::{Tokenizer, TokenizerError};
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// The parts of `tokenizer.json`, in Hugging Face's order.
#[derive(Serialize)]
struct TokenizerJson<'t> {
    version: &'static str,
    truncation: Option<()>,
    padding: Option<()>,
    added_tokens: Vec<AddedToken<'t>>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: Model<'t>,
}

#[derive(Serialize)]
struct AddedToken<'t> {
    id: usize,
    content: &'t str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Serialize)]
struct Model<'t> {
    r#type: &'static str,
    dropout: Option<()>,
    unk_token: Option<&'t str>,
    continuing_subword_prefix: Option<()>,
    end_of_word_suffix: Option<()>,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    #[serde(serialize_with = "vocabulary")]
    vocab: Vec<(&'t str, usize)>,
    /// As pairs, which the loader reads without a second pass over each string.
    merges: Vec<(&'t str, &'t str)>,
}

/// (token, id) pairs as a JSON object.
fn vocabulary<S: Serializer>(vocab: &[(&str, usize)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(vocab.iter().map(|(token, id)| (token, id)))
}

/// Writes the `tokenizer.json` of a GGUF file.
pub(crate) fn rebuild(gguf: &Gguf<'_>, table: &TokenTable<'_>) -> Result<Vec<u8>, QuantizeError> {
    let json = match gguf.string("tokenizer.ggml.model")? {
        "gpt2" => bpe::rebuild(gguf, table)?,
        "llama" => sentencepiece::rebuild(gguf, table)?,
        other => {
            return Err(QuantizeError::Unsupported {
                what: "tokenizer.ggml.model",
                found: other.to_string(),
                supported: "gpt2, llama",
            });
        }
    };
    check(&json)?;
    Ok(json)
}

/// Checks that the engine runs a `tokenizer.json`.
pub(crate) fn check(json: &[u8]) -> Result<(), QuantizeError> {
    let Err(error) = Tokenizer::from_json(json) else { return Ok(()) };
    if serde_json::from_slice::<IgnoredAny>(json).is_err_and(|error| error.is_eof()) {
        let file = "tokenizer.json".to_string();
        return Err(QuantizeError::Truncated { file, length: json.len() as u64, expected: None });
    }
    let problem = match error {
        TokenizerError::File(problem) => problem,
        other => other.to_string(),
    };
    Err(QuantizeError::Tokenizer { problem })
}

/// A post-processor that prepends `begin` to a text, in Hugging Face's form.
fn begin_template(table: &TokenTable<'_>, begin: u32) -> Value {
    let content = table.text(begin).unwrap_or_default();
    let special = serde_json::json!({ "SpecialToken": { "id": content, "type_id": 0 } });
    let special_second = serde_json::json!({ "SpecialToken": { "id": content, "type_id": 1 } });
    let first = serde_json::json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let second = serde_json::json!({ "Sequence": { "id": "B", "type_id": 1 } });
    serde_json::json!({
        "type": "TemplateProcessing",
        "single": [special, first],
        "pair": [special, first, special_second, second],
        "special_tokens": { content: { "id": content, "ids": [begin], "tokens": [content] } },
    })
}

#[cfg(test)]
mod tests;
