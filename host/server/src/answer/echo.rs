//! The prompt at the beginning of an answer (`echo`).

use edgellm::TokenId;
use edgellm::tokenizer::{Detokenizer, Tokenizer};

/// A prompt that an answer repeats.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(super) text: String,
    pub(super) tokens: Vec<TokenId>,
}

impl Echo {
    /// The prompt `tokens`, which were `text` if the client sent text.
    pub(crate) fn new(tokenizer: &Tokenizer, tokens: &[TokenId], text: Option<&String>) -> Self {
        let text = text.cloned().unwrap_or_else(|| tokenizer.decode(tokens, false));
        Echo { text, tokens: tokens.to_vec() }
    }

    /// Where the text of each token begins, in characters. Tokens that the text does not show, such as a first one that the
    /// tokenizer added, have no length.
    pub(super) fn offsets(&self, tokenizer: &Tokenizer) -> Vec<usize> {
        let mut stream = Detokenizer::new(tokenizer, false);
        let (mut rest, mut at, mut piece) = (self.text.as_str(), 0, String::new());
        let offset = |&token: &TokenId| {
            let begin = at;
            piece.clear();
            stream.push(token, &mut piece);
            // SentencePiece tokenizers begin a text with a space of their own.
            for piece in [piece.as_str(), piece.trim_start_matches(' ')] {
                if let Some(after) = rest.strip_prefix(piece) {
                    at += piece.chars().count();
                    rest = after;
                    break;
                }
            }
            begin
        };
        self.tokens.iter().map(offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn offsets_are_those_of_the_text_that_was_sent() {
        // As Llama 2's: a space of its own begins each text, and "<s>" before it.
        let json = json!({
            "added_tokens": [{"id": 0, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
                              "rstrip": false, "normalized": false}],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "vocab": {"<s>": 0, "▁": 1, "a": 2, "▁a": 3, "é": 4}, "merges": ["▁ a"]}
        });
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        let text = "aé aa".to_string();
        let tokens = tokenizer.encode(&text, true).unwrap();
        assert_eq!(tokens, [0, 3, 4, 3, 2]);
        let echo = Echo::new(&tokenizer, &tokens, Some(&text));
        assert_eq!((echo.text.as_str(), echo.offsets(&tokenizer)), ("aé aa", vec![0, 0, 1, 2, 4]));
        // Tokens without a text of their own show all of them.
        let echo = Echo::new(&tokenizer, &[4, 0, 4], None);
        assert_eq!((echo.text.as_str(), echo.offsets(&tokenizer)), ("é<s>é", vec![0, 1, 4]));
    }
}
