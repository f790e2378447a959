//! The prompts: fixed texts, cut to the requested number of tokens.

use edgellm::tokenizer::TokenizerError;
use edgellm::{Model, TokenId};

/// A prompt of an exact number of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// `short`, `medium` or `long`.
    pub category: &'static str,
    /// The tokens.
    pub tokens: Vec<TokenId>,
    /// The same as text.
    pub text: String,
}

/// Categories: name, longest prompt in tokens that belongs to it, and text.
const CATEGORIES: [(&str, usize, &str); 3] = [
    ("short", 32, include_str!("../prompts/short.txt")),
    ("medium", 256, include_str!("../prompts/medium.txt")),
    ("long", usize::MAX, include_str!("../prompts/long.txt")),
];

/// The prompt of `length` tokens: the beginning of its category's text, which is repeated if it is too short.
///
/// # Errors
/// If the model's tokenizer cannot tokenize the text.
pub fn prompt(model: &Model, length: usize) -> Result<Prompt, TokenizerError> {
    let (category, _, text) =
        CATEGORIES.iter().find(|(_, longest, _)| length <= *longest).unwrap_or(&CATEGORIES[2]);
    let tokenizer = model.tokenizer();
    let mut repeated = (*text).to_string();
    loop {
        let mut tokens = tokenizer.encode(&repeated, true)?;
        if tokens.len() >= length {
            tokens.truncate(length);
            let text = tokenizer.decode(&tokens, true);
            return Ok(Prompt { category, tokens, text });
        }
        repeated.push_str(text);
    }
}
