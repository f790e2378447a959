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
/// Marks belong to the letters before them.
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Words end where capitals begin.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same without contractions, each digit alone.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Three splits, one after the other.
const DEEPSEEK_V3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];

/// Byte-level splitting, with GPT-2's own regular expression if `use_regex`.
fn byte_level(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

fn sequence(pretokenizers: &[Value]) -> Value {
    json!({ "type": "Sequence", "pretokenizers": pretokenizers })
}

fn split(expression: &str) -> Value {
    json!({
        "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false,
    })
}

fn nfc() -> Value {
    json!({ "type": "NFC" })
}

/// Whether a `tokenizer.json` with this normalizer and pre-tokenizer splits text as Qwen2's does.
pub(crate) fn is_qwen2(normalizer: &Value, pre_tokenizer: &Value) -> bool {
    let regex = |value: &Value| value["pretokenizers"][0]["pattern"]["Regex"].clone();
    let kind = |value: &Value| value["pretokenizers"][1]["type"].clone();
    let ours = sequence(&[split(QWEN2), byte_level(false)]);
    normalizer["type"] == nfc()["type"]
        && regex(pre_tokenizer) == regex(&ours)
        && kind(pre_tokenizer) == kind(&ours)
        && pre_tokenizer["pretokenizers"].as_array().is_some_and(|all| all.len() == 2)
}

/// The pre-tokenizer called `name` in `tokenizer.ggml.pre`: what the models' own tokenizer.json says, which llama.cpp follows
/// in what matters to it.
pub(super) fn splitting(name: &str) -> Result<Splitting, QuantizeError> {
    let plain = |pre_tokenizer| Splitting { normalizer: Value::Null, pre_tokenizer, ignore_merges: false };
    let words = |expression| plain(sequence(&[split(expression), byte_level(false)]));
    let digits = || {
        let each = json!({ "type": "Digits", "individual_digits": true });
        plain(sequence(&[each, byte_level(true)]))
    };
    Ok(match name {
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "roberta-bpe" => plain(byte_level(true)),
        // Those of GPT-NeoX.
        "mpt" | "olmo" => Splitting { normalizer: nfc(), ..plain(byte_level(true)) },
        // Granite 3 is "refact".
        "smollm" | "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" => digits(),
        "command-r" => Splitting { normalizer: nfc(), ..digits() },
        // "smaug-bpe" is Llama 3's vocabulary without a token at the beginning, which is SmolLM3's too.
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "lfm2" | "smaug-bpe" => {
            Splitting { ignore_merges: true, ..words(LLAMA3) }
        }
        // GPT-4's, which OLMo 2, Phi-4 and Granite 4 have.
        "dbrx" => words(LLAMA3),
        // Phi-4-mini's.
        "gpt-4o" => words(GPT4O),
        "tekken" => Splitting { ignore_merges: true, ..words(TEKKEN) },
        "qwen2" | "deepseek-r1-qwen" => Splitting { normalizer: nfc(), ..words(QWEN2) },
        "qwen35" => Splitting { normalizer: nfc(), ..words(QWEN35) },
        "stablelm2" => words(QWEN2),
        "deepseek-v3" => {
            let [numbers, han, other] = DEEPSEEK_V3.map(split);
            plain(sequence(&[numbers, han, other, byte_level(false)]))
        }
        other => {
            return Err(QuantizeError::Unsupported {
                what: "tokenizer.ggml.pre",
                found: other.to_string(),
                supported: "gpt-2, smollm, starcoder, llama-bpe, qwen2, qwen35, gpt-4o, dbrx, tekken, lfm2, \
                            deepseek-v3 and their like; or convert the Hugging Face folder, which carries its \
                            own tokenizer.json",
            });
        }
    })
}
