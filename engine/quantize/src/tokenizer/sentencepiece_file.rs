//! Builds a `tokenizer.json` from the `tokenizer.model` of a Hugging Face folder, as transformers converts it for Llama's and
//! Gemma's tokenizers.

use super::sentencepiece::{Parts, Prefix, merges, write};
use super::sentencepiece_model::SentencePieceModel;
use super::table::Kind;
use super::{AddedToken, TokenTable, surround_template};
use crate::QuantizeError;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What `tokenizer_config.json` says about a tokenizer.
#[derive(Deserialize, Default)]
pub(crate) struct TokenizerConfig {
    tokenizer_class: Option<String>,
    legacy: Option<bool>,
    add_prefix_space: Option<bool>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    #[serde(default)]
    bos_token: Value,
    #[serde(default)]
    eos_token: Value,
    #[serde(default)]
    unk_token: Value,
    #[serde(default)]
    pad_token: Value,
    /// By id.
    added_tokens_decoder: Option<BTreeMap<String, Added>>,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

/// The text of a token: written as such, or as an object with more properties.
fn text(token: &Value) -> Option<&str> {
    token.get("content").unwrap_or(token).as_str()
}

/// Writes the `tokenizer.json` of a `tokenizer.model`; `added` are the ids in `added_tokens.json`.
///
/// # Errors
/// [`QuantizeError`] if the file is damaged, or its tokenizer is of another kind.
pub(crate) fn from_model(
    bytes: &[u8],
    config: &TokenizerConfig,
    added: &BTreeMap<String, usize>,
) -> Result<Vec<u8>, QuantizeError> {
    let model = SentencePieceModel::parse(bytes)?;
    let gemma = is_gemma(&model, config)?;
    let (mut tokens, mut kinds, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for &(text, score, kind) in &model.pieces {
        tokens.push(text);
        kinds.push(kind);
        scores.push(f64::from(score));
    }
    // Gemma's first vocabulary has tabs as a byte only, which the converter spells out.
    if gemma && !tokens.contains(&"\t") {
        tokens.iter_mut().filter(|token| **token == "<0x09>").for_each(|token| *token = "\t");
    }
    let table = TokenTable::new(tokens, kinds);
    let or = |token, default| text(token).unwrap_or(default);
    let bos = or(&config.bos_token, if gemma { "<bos>" } else { "<s>" });
    let eos = or(&config.eos_token, if gemma { "<eos>" } else { "</s>" });
    let named = [Some(bos), Some(eos), Some(or(&config.unk_token, "<unk>")), text(&config.pad_token)];
    let added_tokens = added_tokens(&table, config, added, &named)?;
    let surround = |token: &str, add: bool| -> Result<Option<(u32, String)>, QuantizeError> {
        if !add {
            return Ok(None);
        }
        let id = added_tokens.iter().find(|added| added.content == token).map(|added| added.id);
        let id = id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| QuantizeError::Tokenizer {
            problem: format!("it puts {token} around a text, which is no token of tokenizer.model"),
        })?;
        Ok(Some((id, token.to_string())))
    };
    let post_processor = surround_template(
        surround(bos, config.add_bos_token.unwrap_or(true))?,
        surround(eos, config.add_eos_token.unwrap_or(false))?,
    );
    let prefix = if gemma || config.add_prefix_space == Some(false) {
        Prefix::None
    } else if config.legacy.unwrap_or(true) {
        Prefix::Everywhere
    } else {
        Prefix::First
    };
    let merges = merges(&table, &scores)?;
    write(&table, Parts { prefix, unknown: Some(model.unknown), added_tokens, merges, post_processor })
}

/// Whether it is one of Gemma's tokenizers rather than one of Llama's.
fn is_gemma(model: &SentencePieceModel<'_>, config: &TokenizerConfig) -> Result<bool, QuantizeError> {
    let unsupported = |what, found: &str, supported| QuantizeError::Unsupported {
        what,
        found: found.to_string(),
        supported,
    };
    match model.algorithm {
        2 => {}
        1 => return Err(unsupported("the algorithm of tokenizer.model", "Unigram", "BPE")),
        other => return Err(unsupported("the algorithm of tokenizer.model", &other.to_string(), "BPE")),
    }
    if model.normalizes {
        let problem = "tokenizer.model changes characters or drops spaces of a text, which transformers' tokenizers for \
                       Llama and Gemma do not"
            .to_string();
        return Err(QuantizeError::Tokenizer { problem });
    }
    match config.tokenizer_class.as_deref() {
        None | Some("PreTrainedTokenizerFast" | "TokenizersBackend") => Ok(!model.prefix),
        Some("LlamaTokenizer" | "LlamaTokenizerFast") => Ok(false),
        Some("GemmaTokenizer" | "GemmaTokenizerFast") => Ok(true),
        Some(other) => Err(unsupported(
            "tokenizer_class",
            other,
            "LlamaTokenizer, GemmaTokenizer; or a folder with tokenizer.json",
        )),
    }
}

/// The added tokens by id: those of the vocabulary, those with a role, and those of the files, which have the last word.
fn added_tokens<'t>(
    table: &TokenTable<'t>,
    config: &'t TokenizerConfig,
    added: &'t BTreeMap<String, usize>,
    named: &[Option<&'t str>],
) -> Result<Vec<AddedToken<'t>>, QuantizeError> {
    let mut tokens = BTreeMap::new();
    for (id, text, kind) in table.iter() {
        let turn = matches!(text, "<start_of_turn>" | "<end_of_turn>");
        if matches!(kind, Kind::Control | Kind::UserDefined) {
            tokens.insert(id, AddedToken::new(id, text, turn || kind == Kind::Control));
        }
    }
    for (text, &id) in added {
        let special = named.contains(&Some(text.as_str()));
        tokens.insert(id, AddedToken { normalized: !special, ..AddedToken::new(id, text, special) });
    }
    for &text in named.iter().flatten() {
        if let Some(id) = table.id(text) {
            tokens.insert(id, AddedToken::new(id, text, true));
        }
    }
    for (id, token) in config.added_tokens_decoder.iter().flatten() {
        let wrong = |_| QuantizeError::Tokenizer {
            problem: format!(
                "added_tokens_decoder of tokenizer_config.json has a token {id:?}, which is no id"
            ),
        };
        let id: usize = id.parse().map_err(wrong)?;
        let Added { content, single_word, lstrip, rstrip, normalized, special } = token;
        let (single_word, lstrip, rstrip) = (*single_word, *lstrip, *rstrip);
        let token = AddedToken {
            id,
            content,
            single_word,
            lstrip,
            rstrip,
            normalized: *normalized,
            special: *special,
        };
        tokens.insert(id, token);
    }
    Ok(tokens.into_values().collect())
}
