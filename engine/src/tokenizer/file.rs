//! The parts of a Hugging Face `tokenizer.json` besides its model.

use super::bpe::{ModelFile, check_type};
use crate::json::or_default;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use tokenizers::AddedToken;

/// A tokenizer.json as written. Truncation and padding, which concern training, are ignored.
#[derive(Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) added_tokens: Vec<AddedTokenFile>,
    #[serde(default)]
    pub(super) normalizer: Value,
    #[serde(default)]
    pub(super) pre_tokenizer: Value,
    #[serde(default)]
    pub(super) post_processor: Value,
    #[serde(default)]
    pub(super) decoder: Value,
    pub(super) model: ModelFile,
}

/// Why a file cannot be read: that its model is of another type, whose fields have other types, or serde's reason.
pub(super) fn unreadable(json: &[u8], error: &serde_json::Error) -> String {
    #[derive(Deserialize)]
    struct Typed {
        model: Type,
    }
    #[derive(Deserialize)]
    struct Type {
        r#type: Option<String>,
    }
    let typed = serde_json::from_slice::<Typed>(json).ok();
    let model = typed.and_then(|typed| typed.model.r#type);
    check_type(model.as_deref()).err().unwrap_or_else(|| error.to_string())
}

/// A token that is recognised in the text before the model sees it.
#[derive(Deserialize)]
pub(super) struct AddedTokenFile {
    pub(super) id: u32,
    #[serde(flatten)]
    pub(super) token: AddedToken,
}

/// Supported normalizers; the others are not meant for BPE models.
pub(super) const NORMALIZERS: &[&str] = &[
    "Sequence",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Lowercase",
    "Strip",
    "StripAccents",
    "Replace",
    "Prepend",
    "ByteLevel",
];

/// Supported pre-tokenizers.
pub(super) const PRE_TOKENIZERS: &[&str] = &[
    "Sequence",
    "ByteLevel",
    "Split",
    "Digits",
    "Metaspace",
    "Whitespace",
    "WhitespaceSplit",
    "Punctuation",
];

/// Reads a component through the `tokenizers` crate, if its type is one of `supported`; null is none.
pub(super) fn component<T: for<'de> Deserialize<'de>>(
    part: &str,
    json: Value,
    supported: &[&str],
) -> Result<Option<T>, String> {
    if json.is_null() {
        return Ok(None);
    }
    check_types(part, &json, supported)?;
    T::deserialize(json).map(Some).map_err(|error| format!("its {part} cannot be read: {error}"))
}

/// The recursion is bounded: serde_json reads at most 128 levels.
fn check_types(part: &str, json: &Value, supported: &[&str]) -> Result<(), String> {
    let found = json.get("type").and_then(Value::as_str).unwrap_or("without a type");
    if !supported.contains(&found) {
        return Err(format!("its {part} is {found}, supported are {}", supported.join(", ")));
    }
    let list = json.get("normalizers").or_else(|| json.get("pretokenizers"));
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .try_for_each(|inner| check_types(part, inner, supported))
}

/// The tokens that a post-processor adds around a text, such as BOS.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Surround {
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PostProcessorFile {
    /// Changes only offsets, which are not used here.
    ByteLevel,
    TemplateProcessing {
        single: Vec<PieceFile>,
        special_tokens: HashMap<String, SpecialFile>,
    },
    Sequence {
        processors: Vec<PostProcessorFile>,
    },
}

#[derive(Deserialize)]
enum PieceFile {
    Sequence { id: String },
    SpecialToken { id: String },
}

#[derive(Deserialize)]
struct SpecialFile {
    ids: Vec<u32>,
}

impl Surround {
    /// Reads the `post_processor` of a tokenizer.json.
    pub(super) fn from_json(json: Value) -> Result<Self, String> {
        let mut surround = Surround::default();
        if !json.is_null() {
            PostProcessorFile::deserialize(&json)
                .map_err(|error| format!("its post_processor is not supported: {error}"))?
                .apply(&mut surround)?;
        }
        Ok(surround)
    }
}

impl PostProcessorFile {
    fn apply(&self, surround: &mut Surround) -> Result<(), String> {
        match self {
            PostProcessorFile::ByteLevel => Ok(()),
            PostProcessorFile::Sequence { processors } => {
                processors.iter().try_for_each(|p| p.apply(surround))
            }
            PostProcessorFile::TemplateProcessing { single, special_tokens } => {
                let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
                let mut seen = false;
                for piece in single {
                    match piece {
                        PieceFile::Sequence { id } if id == "A" && !seen => seen = true,
                        PieceFile::Sequence { .. } => {
                            return Err("its post_processor repeats the text".into());
                        }
                        PieceFile::SpecialToken { id } => {
                            let token = special_tokens.get(id).ok_or_else(|| {
                                format!("its post_processor uses {id:?} without saying its id")
                            })?;
                            if seen { &mut suffix } else { &mut prefix }.extend_from_slice(&token.ids);
                        }
                    }
                }
                if !seen {
                    return Err("its post_processor leaves the text out".into());
                }
                prefix.append(&mut surround.prefix);
                surround.suffix.append(&mut suffix);
                surround.prefix = prefix;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn llama_3_begins_a_text() {
        let json = json!({"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<b>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [], "special_tokens": {"<b>": {"id": "<b>", "ids": [7], "tokens": ["<b>"]}}}]});
        assert_eq!(Surround::from_json(json).unwrap(), Surround { prefix: vec![7], suffix: vec![] });
        assert_eq!(Surround::from_json(Value::Null).unwrap(), Surround::default());
    }

    #[test]
    fn a_template_must_hold_together() {
        let of = |single: Value| {
            Surround::from_json(json!({"type": "TemplateProcessing", "single": single, "special_tokens": {}}))
                .unwrap_err()
        };
        let text = json!({"Sequence": {"id": "A"}});
        assert!(of(json!([{"SpecialToken": {"id": "<b>"}}, text])).contains("<b>"));
        assert!(of(json!([text, text])).contains("repeats"));
        assert!(of(json!([])).contains("leaves"));
        assert!(
            Surround::from_json(json!({"type": "BertProcessing"})).unwrap_err().contains("not supported")
        );
    }

    #[test]
    fn unknown_components_are_named() {
        let inner =
            json!({"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": ""}]});
        let error = component::<tokenizers::NormalizerWrapper>("normalizer", inner, NORMALIZERS).unwrap_err();
        assert!(error.contains("Precompiled"), "{error}");
    }
}
