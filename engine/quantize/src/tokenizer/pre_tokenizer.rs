//! Pre-tokenizers: how text is split before byte-pair merging, by llama.cpp's names.

use crate::QuantizeError;
use serde_json::{Value, json};

/// The parts of a byte-level tokenizer that differ between models.
pub(super) struct Splitting {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    /// Words that are tokens of the vocabulary skip merging.
    pub(super) ignore_merges: bool,
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Byte-level splitting, with GPT-2's own regular expression if `use_regex`.
fn byte_level(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

fn after(first: Value, use_regex: bool) -> Value {
    json!({ "type": "Sequence", "pretokenizers": [first, byte_level(use_regex)] })
}

fn split(expression: &str) -> Value {
    json!({
        "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false,
    })
}

/// The pre-tokenizer called `name` in `tokenizer.ggml.pre`.
pub(super) fn splitting(name: &str) -> Result<Splitting, QuantizeError> {
    let plain = |pre_tokenizer| Splitting { normalizer: Value::Null, pre_tokenizer, ignore_merges: false };
    Ok(match name {
        "gpt-2" | "mpt" | "olmo" | "phi-2" | "jina-es" | "jina-de" | "roberta-bpe" => plain(byte_level(true)),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            plain(after(json!({ "type": "Digits", "individual_digits": true }), true))
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => {
            Splitting { ignore_merges: true, ..plain(after(split(LLAMA3), false)) }
        }
        "dbrx" | "smaug-bpe" => plain(after(split(LLAMA3), false)),
        "qwen2" | "deepseek-r1-qwen" => {
            Splitting { normalizer: json!({ "type": "NFC" }), ..plain(after(split(QWEN2), false)) }
        }
        "stablelm2" => plain(after(split(QWEN2), false)),
        other => {
            return Err(QuantizeError::Unsupported {
                what: "tokenizer.ggml.pre",
                found: other.to_string(),
                supported: "gpt-2, smollm, starcoder, llama-bpe, qwen2 and their like; or convert the \
                            Hugging Face folder, which carries its own tokenizer.json",
            });
        }
    })
}
