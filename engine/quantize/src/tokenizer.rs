//! Builds a Hugging Face `tokenizer.json` from the vocabulary in a GGUF file.

mod bpe;
mod pre_tokenizer;
mod published;
mod sentencepiece;
mod sentencepiece_file;
mod sentencepiece_model;
mod table;

pub(crate) use pre_tokenizer::is_qwen2;
pub(crate) use sentencepiece_file::from_model;
pub(crate) use table::{TokenTable, ends_an_answer};

use crate::QuantizeError;
use crate::gguf::Gguf;
use edgellm::tokenizer::{Tokenizer, TokenizerError};
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

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

impl<'t> AddedToken<'t> {
    /// One that is found in the text as it is.
    fn new(id: usize, content: &'t str, special: bool) -> Self {
        let (single_word, lstrip, rstrip, normalized) = (false, false, false, false);
        AddedToken { id, content, single_word, lstrip, rstrip, normalized, special }
    }
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

/// The `tokenizer.json` of a GGUF file, which needs no tensors.
///
/// # Errors
/// [`QuantizeError`] if the file is damaged or its tokenizer is not supported.
pub fn tokenizer_of_gguf(bytes: &[u8]) -> Result<Vec<u8>, QuantizeError> {
    let gguf = Gguf::parse(bytes)?;
    rebuild(&gguf, &TokenTable::read(&gguf)?)
}

/// Writes the `tokenizer.json` of a GGUF file.
pub(crate) fn rebuild(gguf: &Gguf<'_>, table: &TokenTable<'_>) -> Result<Vec<u8>, QuantizeError> {
    let json = match gguf.string("tokenizer.ggml.model")? {
        "gpt2" => bpe::rebuild(gguf, table)?,
        "llama" | sentencepiece::LISTED => sentencepiece::rebuild(gguf, table)?,
        other => {
            return Err(QuantizeError::Unsupported {
                what: "tokenizer.ggml.model",
                found: other.to_string(),
                supported: "gpt2, llama, gemma4: byte-pair encoding",
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

/// A post-processor that puts `begin` before a text and `end` behind it, in Hugging Face's form.
fn surround_template(begin: Option<(u32, String)>, end: Option<(u32, String)>) -> Value {
    if begin.is_none() && end.is_none() {
        return Value::Null;
    }
    let around = |name: &str, kind: u32| {
        let special = |token: &Option<(u32, String)>| {
            token.as_ref().map(|(_, text)| json!({ "SpecialToken": { "id": text, "type_id": kind } }))
        };
        let text = json!({ "Sequence": { "id": name, "type_id": kind } });
        [special(&begin), Some(text), special(&end)].into_iter().flatten().collect::<Vec<_>>()
    };
    let tokens: Map<String, Value> = [&begin, &end]
        .into_iter()
        .flatten()
        .map(|(id, text)| (text.clone(), json!({ "id": text, "ids": [id], "tokens": [text] })))
        .collect();
    let pair = [around("A", 0), around("B", 1)].concat();
    json!({
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": pair,
        "special_tokens": tokens,
    })
}

/// One that puts the token `begin` before a text.
fn begin_template(table: &TokenTable<'_>, begin: u32) -> Value {
    surround_template(Some((begin, table.text(begin).unwrap_or_default().to_string())), None)
}

#[cfg(test)]
mod tests;
