//! The tokens that begin a text and end an answer, from the files of a Hugging Face directory.

use super::files::Files;
use crate::QuantizeError;
use crate::tokenizer::ends_an_answer;
use edgellm::config::ModelConfig;
use edgellm::json::{Whole, or_default};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// One token id or several. Null and negative ones are none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(Whole),
    Several(Vec<Option<Whole>>),
}

impl Ids {
    fn ids(&self) -> impl Iterator<Item = u32> {
        let ids: Vec<Whole> = match self {
            Ids::One(id) => vec![*id],
            Ids::Several(ids) => ids.iter().flatten().copied().collect(),
        };
        ids.into_iter().filter_map(|Whole(id)| u32::try_from(id).ok())
    }
}

/// `config.json` and `generation_config.json`.
#[derive(Deserialize)]
struct Config {
    bos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
}

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    #[serde(default)]
    add_bos_token: bool,
    #[serde(default)]
    eos_token: Value,
}

#[derive(Deserialize)]
struct Tokenizer {
    #[serde(default, deserialize_with = "or_default")]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    post_processor: Value,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

/// Sets `bos_token_id`, if the tokenizer prepends one to a text, and `eos_token_ids`.
pub(super) fn from_files(
    files: &Files<'_, '_>,
    tokenizer: &[u8],
    config: &mut ModelConfig,
) -> Result<(), QuantizeError> {
    // Not as a tree: it may be large.
    let tokenizer: Tokenizer =
        serde_json::from_slice(tokenizer).map_err(|error| QuantizeError::json("tokenizer.json", error))?;
    let tokenizer_config: TokenizerConfig = files.json("tokenizer_config.json")?.unwrap_or_default();
    let mut ends = BTreeSet::new();
    let mut begin = None;
    for file in ["config.json", "generation_config.json"] {
        let Some(found) = files.json::<Config>(file)? else { continue };
        ends.extend(found.eos_token_id.iter().flat_map(Ids::ids));
        begin = begin.or_else(|| found.bos_token_id.as_ref()?.ids().next());
    }
    let end_text = match &tokenizer_config.eos_token {
        Value::String(text) => Some(text.as_str()),
        Value::Object(token) => token.get("content").and_then(Value::as_str),
        _ => None,
    };
    for token in &tokenizer.added_tokens {
        if Some(token.content.as_str()) == end_text || token.special && ends_an_answer(&token.content) {
            ends.insert(token.id);
        }
    }
    // The post-processor's template names the tokens that it adds to a text.
    let template = tokenizer.post_processor.to_string();
    let begins = |id: &u32| {
        tokenizer_config.add_bos_token
            || tokenizer.added_tokens.iter().any(|token| {
                token.id == *id && template.contains(&Value::from(token.content.as_str()).to_string())
            })
    };
    config.bos_token_id = begin.filter(begins);
    config.eos_token_ids = ends.into_iter().filter(|&id| (id as usize) < config.vocab_size).collect();
    Ok(())
}
