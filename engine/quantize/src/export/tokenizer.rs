//! The tokens that transformers knows by name: `tokenizer_config.json` and `generation_config.json`.

use super::{ExportError, TRANSFORMERS};
use crate::tokenizer::is_qwen2;
use edgellm::config::ModelConfig;
use edgellm::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::{Value, json};

/// Texts of tokens as the model's files name them, each empty if they name none.
pub(super) struct Named<'n> {
    pub(super) bos: &'n str,
    pub(super) eos: &'n str,
    pub(super) pad: &'n str,
}

/// A token of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) id: u32,
    text: String,
}

/// The tokens with names.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) bos: Option<Token>,
    eos: Option<Token>,
    pad: Option<Token>,
    unknown: Option<Token>,
    /// The model begins texts with a token that the tokenizer's file does not add.
    add_bos: bool,
    /// Text is split as Qwen2's tokenizer does.
    pub(super) is_qwen2: bool,
}

/// What pads, in vocabularies whose files do not say so.
const PADS: [&str; 6] =
    ["<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<|fim_pad|>", "<|endoftext|>"];

#[derive(Deserialize)]
struct TokenizerFile {
    model: Model,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
}

#[derive(Deserialize)]
struct Model {
    unk_token: Option<String>,
}

impl Tokens {
    /// # Errors
    /// If the tokenizer cannot be read.
    pub(super) fn find(json: &[u8], named: Named<'_>, config: &ModelConfig) -> Result<Self, ExportError> {
        let wrong = |problem: String| ExportError::Tokenizer { problem };
        let tokenizer = Tokenizer::from_json(json).map_err(|error| wrong(error.to_string()))?;
        let file: TokenizerFile = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        // One that is not in the vocabulary would become a token without a row of the embedding.
        let of_text = |text: &str| {
            let id = tokenizer.token_to_id(text).filter(|&id| (id as usize) < config.vocab_size)?;
            Some(Token { id, text: text.to_string() })
        };
        let of_id = |id: u32| Some(Token { id, text: tokenizer.id_to_token(id)?.to_string() });
        let bos = of_text(named.bos).or_else(|| config.bos_token_id.and_then(of_id));
        let eos = of_text(named.eos).or_else(|| config.eos_token_ids.first().copied().and_then(of_id));
        let known = || PADS.iter().find_map(|text| of_text(text));
        let pad = of_text(named.pad).or_else(known).or_else(|| eos.clone());
        let unknown = file.model.unk_token.as_deref().and_then(of_text);
        let add_bos = config.bos_token_id.is_some_and(|id| !tokenizer.surround(&[]).contains(&id));
        let is_qwen2 = is_qwen2(&file.normalizer, &file.pre_tokenizer);
        Ok(Tokens { bos, eos, pad, unknown, add_bos, is_qwen2 })
    }

    /// Ids of the tokens that end an answer: one, several or none.
    pub(super) fn ends(&self, config: &ModelConfig) -> Value {
        match config.eos_token_ids[..] {
            [] => self.eos.as_ref().map(|token| token.id).into(),
            [id] => id.into(),
            _ => config.eos_token_ids.clone().into(),
        }
    }

    /// The token that pads and does nothing else.
    pub(super) fn own_pad(&self, config: &ModelConfig) -> Option<Token> {
        let other = |token: &&Token| {
            Some(*token) != self.eos.as_ref()
                && Some(*token) != self.bos.as_ref()
                && !config.eos_token_ids.contains(&token.id)
        };
        self.pad.as_ref().filter(other).cloned()
    }
}

/// `generation_config.json`.
pub(super) fn generation(tokens: &Tokens, config: &ModelConfig) -> Value {
    json!({
        "bos_token_id": tokens.bos.as_ref().map(|token| token.id),
        "eos_token_id": tokens.ends(config),
        "pad_token_id": tokens.pad.as_ref().map(|token| token.id),
        "transformers_version": TRANSFORMERS,
    })
}

/// `tokenizer_config.json`. Whether a BOS token begins texts is left to the `tokenizer.json`, whose post-processor transformers
/// replaces if it is told more.
pub(super) fn config(tokens: &Tokens, config: &ModelConfig) -> Value {
    let text = |token: &Option<Token>| token.as_ref().map(|token| token.text.clone());
    let mut fields = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": text(&tokens.bos),
        "eos_token": text(&tokens.eos),
        "pad_token": text(&tokens.pad),
        "unk_token": text(&tokens.unknown),
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
    });
    if tokens.add_bos {
        fields["add_bos_token"] = true.into();
    }
    fields
}
