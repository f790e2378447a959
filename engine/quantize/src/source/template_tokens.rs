//! The texts of the BOS and EOS tokens in chat templates, and of the token that pads.
//!
//! They are what the model's authors call these tokens, which says nothing about the ids that begin and end texts: a
//! tokenizer may add no BOS token, or another one, and several tokens may end an answer.

use super::files::Files;
use crate::QuantizeError;
use crate::gguf::Gguf;
use crate::tokenizer::TokenTable;
use edgellm::json::Whole;
use edgellm::tokenizer::Tokenizer;
use serde::Deserialize as _;
use serde_json::Value;

/// The texts, each empty if the model has no such token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TemplateTokens {
    pub(super) bos: String,
    pub(super) eos: String,
    pub(super) pad: String,
}

impl TemplateTokens {
    /// The tokens whose ids a GGUF file names.
    pub(super) fn from_gguf(gguf: &Gguf<'_>, table: &TokenTable<'_>) -> Result<Self, QuantizeError> {
        let text = |key: &str| -> Result<String, QuantizeError> {
            let id = table.named(gguf, &format!("tokenizer.ggml.{key}_token_id"))?;
            Ok(id.and_then(|id| table.text(id)).unwrap_or_default().to_string())
        };
        Ok(TemplateTokens { bos: text("bos")?, eos: text("eos")?, pad: text("padding")? })
    }

    /// The tokens that a Hugging Face directory names, where transformers looks for them: `tokenizer_config.json`, then
    /// `special_tokens_map.json`. If neither says anything about one, `config.json` and `generation_config.json` may have
    /// its id.
    pub(super) fn from_files(files: &Files<'_, '_>, tokenizer: &[u8]) -> Result<Self, QuantizeError> {
        let read = |names: [&str; 2]| -> Result<Vec<Value>, QuantizeError> {
            names.into_iter().filter_map(|name| files.json(name).transpose()).collect()
        };
        let names = read(["tokenizer_config.json", "special_tokens_map.json"])?;
        let ids = read(["config.json", "generation_config.json"])?;
        let text = |name: &str| {
            if let Some(token) = names.iter().find_map(|file| file.get(name)) {
                return content(token).to_string();
            }
            let id = ids.iter().find_map(|file| first_id(file.get(format!("{name}_id"))?));
            let tokenizer = id.and_then(|_| Tokenizer::from_json(tokenizer).ok());
            let text = tokenizer.as_ref().zip(id).and_then(|(tokenizer, id)| tokenizer.id_to_token(id));
            text.unwrap_or_default().to_string()
        };
        Ok(TemplateTokens { bos: text("bos_token"), eos: text("eos_token"), pad: text("pad_token") })
    }
}

/// The text of a token: written as such, or as an object with more properties; null is none.
fn content(token: &Value) -> &str {
    token.get("content").unwrap_or(token).as_str().unwrap_or_default()
}

/// One id, or the first of several.
fn first_id(ids: &Value) -> Option<u32> {
    let id = ids.as_array().map_or(Some(ids), |ids| ids.first())?;
    let Whole(id) = Whole::deserialize(id).ok()?;
    u32::try_from(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::tests::Builder;
    use crate::testing::metadata;
    use crate::tokenizer;
    use serde_json::json;

    fn tokens(bos: &str, eos: &str) -> TemplateTokens {
        TemplateTokens { bos: bos.into(), eos: eos.into(), pad: String::new() }
    }

    /// Those of a directory with these files, whose tokenizer has `<|endoftext|>`, `<|im_start|>` and `<|im_end|>` as 0, 1
    /// and 2.
    fn of_files(files: &[(&str, Value)]) -> TemplateTokens {
        let file = metadata("llama").build();
        let gguf = Gguf::parse(&file).unwrap();
        let tokenizer = tokenizer::rebuild(&gguf, &TokenTable::read(&gguf).unwrap()).unwrap();
        let texts: Vec<(&str, String)> = files.iter().map(|(name, json)| (*name, json.to_string())).collect();
        let files: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        TemplateTokens::from_files(&Files::new(&files), &tokenizer).unwrap()
    }

    fn of_gguf(file: Builder) -> TemplateTokens {
        let file = file.build();
        let gguf = Gguf::parse(&file).unwrap();
        TemplateTokens::from_gguf(&gguf, &TokenTable::read(&gguf).unwrap()).unwrap()
    }

    #[test]
    fn the_tokenizers_configuration_names_them() {
        let config = |bos, eos| json!({"bos_token_id": bos, "eos_token_id": eos});
        let named =
            |names: Value, ids: Value| of_files(&[("tokenizer_config.json", names), ("config.json", ids)]);
        // SmolLM2: no BOS is added, and the end token with the lowest id is another one.
        let smollm2 = json!({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": false});
        assert_eq!(named(smollm2, config(1, 2)), tokens("<|im_start|>", "<|im_end|>"));
        // Qwen2.5: its config.json has a bos_token_id, but the tokenizer has no such token.
        let qwen = json!({"bos_token": null, "eos_token": "<|im_end|>", "add_bos_token": false});
        assert_eq!(named(qwen, config(0, 2)), tokens("", "<|im_end|>"));
        // DeepSeek-R1-Distill-Qwen: objects, and ids of the model that it was made from.
        let token =
            |text: &str| json!({"__type": "AddedToken", "content": text, "lstrip": false, "special": true});
        let (begin, end) = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>");
        let deepseek = json!({"bos_token": token(begin), "eos_token": token(end), "add_bos_token": true});
        assert_eq!(named(deepseek, config(0, 0)), tokens(begin, end));
        // Llama 3: config.json lists several end tokens.
        let llama = json!({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"});
        let ids = json!({"bos_token_id": 0, "eos_token_id": [1, 2, 0]});
        assert_eq!(named(llama, ids), tokens("<|begin_of_text|>", "<|eot_id|>"));
    }

    #[test]
    fn other_files_name_what_it_does_not() {
        let map = json!({"bos_token": {"content": "<s>", "normalized": true}, "eos_token": "</s>"});
        let half = ("tokenizer_config.json", json!({"eos_token": "<|im_end|>"}));
        assert_eq!(of_files(&[("special_tokens_map.json", map.clone())]), tokens("<s>", "</s>"));
        assert_eq!(of_files(&[half, ("special_tokens_map.json", map)]), tokens("<s>", "<|im_end|>"));
        let ids = ("config.json", json!({"bos_token_id": 1.0, "eos_token_id": [2, 0]}));
        assert_eq!(of_files(std::slice::from_ref(&ids)), tokens("<|im_start|>", "<|im_end|>"));
        let more = ("generation_config.json", json!({"bos_token_id": 0, "eos_token_id": 0}));
        assert_eq!(of_files(&[ids, more.clone()]), tokens("<|im_start|>", "<|im_end|>"));
        assert_eq!(of_files(&[more]), tokens("<|endoftext|>", "<|endoftext|>"));
        for none in
            [json!({}), json!({"bos_token_id": null, "eos_token_id": -1}), json!({"eos_token_id": [999]})]
        {
            assert_eq!(of_files(&[("config.json", none)]), TemplateTokens::default());
        }
    }

    #[test]
    fn a_gguf_file_names_their_ids() {
        // No BOS is added, and <|endoftext|> ends an answer too.
        assert_eq!(of_gguf(metadata("llama")), tokens("<|im_start|>", "<|im_end|>"));
        let added = metadata("qwen2").bool("tokenizer.ggml.add_bos_token", true);
        assert_eq!(of_gguf(added), tokens("<|im_start|>", "<|im_end|>"));
        let plain = |bos: u32| {
            Builder::default()
                .strings("tokenizer.ggml.tokens", &["a", "<s>"].map(String::from))
                .u32("tokenizer.ggml.bos_token_id", bos)
        };
        assert_eq!(of_gguf(plain(1)), tokens("<s>", ""));
        assert_eq!(of_gguf(plain(u32::MAX)), TemplateTokens::default());
    }
}
