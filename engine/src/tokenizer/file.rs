//! The parts of a Hugging Face `tokenizer.json` besides its model.

use super::bounds::{SURROUND, brief, clip, component, read, within};
use super::bpe::{ModelFile, check_type};
use crate::json::or_default;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// A tokenizer.json as written. Truncation and padding, which concern training, are ignored.
#[derive(Deserialize)]
pub(super) struct TokenizerFile<'a> {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) added_tokens: Vec<AddedTokenFile>,
    #[serde(borrow)]
    pub(super) normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) post_processor: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) decoder: Option<&'a RawValue>,
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
    check_type(model.as_deref()).err().unwrap_or_else(|| brief(error))
}

/// A token that is recognised in the text before the model sees it.
#[derive(Deserialize)]
pub(super) struct AddedTokenFile {
    pub(super) id: u32,
    pub(super) content: String,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    pub(super) normalized: bool,
    pub(super) special: bool,
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
    pub(super) fn from_json(json: Option<&RawValue>) -> Result<Self, String> {
        let mut surround = Surround::default();
        if let Some(json) = component("post_processor", json)? {
            read::<PostProcessorFile>("post_processor", json)?.apply(&mut surround)?;
        }
        Ok(surround)
    }

    fn count(&self) -> usize {
        self.prefix.len() + self.suffix.len()
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
                                format!("its post_processor uses {} without saying its id", clip(id))
                            })?;
                            let count = surround.count() + prefix.len() + suffix.len() + token.ids.len();
                            within("post_processor's tokens around a text", count, SURROUND)?;
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
    use serde_json::{Value, json};

    fn surround(json: Value) -> Result<Surround, String> {
        Surround::from_json(Some(&serde_json::value::to_raw_value(&json).unwrap()))
    }

    #[test]
    fn llama_3_begins_a_text() {
        let json = json!({"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": "<b>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [], "special_tokens": {"<b>": {"id": "<b>", "ids": [7], "tokens": ["<b>"]}}}]});
        assert_eq!(surround(json).unwrap(), Surround { prefix: vec![7], suffix: vec![] });
        assert_eq!(surround(Value::Null).unwrap(), Surround::default());
    }

    #[test]
    fn a_template_must_hold_together() {
        let of = |single: Value| {
            surround(json!({"type": "TemplateProcessing", "single": single, "special_tokens": {}}))
                .unwrap_err()
        };
        let text = json!({"Sequence": {"id": "A"}});
        assert!(of(json!([{"SpecialToken": {"id": "<b>"}}, text])).contains("<b>"));
        assert!(of(json!([text, text])).contains("repeats"));
        assert!(of(json!([])).contains("leaves"));
        assert!(surround(json!({"type": "BertProcessing"})).unwrap_err().contains("not supported"));
    }
}
