//! What the tokenizer.json of published vocabularies says and GGUF files do not.

use super::TokenTable;

/// Whether these tokens have these ids.
fn has(table: &TokenTable<'_>, tokens: &[(u32, &str)]) -> bool {
    tokens.iter().all(|&(id, text)| table.text(id) == Some(text))
}

/// Phi-3 and 3.5.
pub(super) fn is_phi_3(table: &TokenTable<'_>) -> bool {
    has(
        table,
        &[(32_000, "<|endoftext|>"), (32_001, "<|assistant|>"), (32_007, "<|end|>"), (32_010, "<|user|>")],
    )
}

/// Whether an added token of Phi-3 takes the white space behind it.
pub(super) fn phi_3_strips(text: &str) -> bool {
    !matches!(text, "<unk>" | "<s>" | "<|endoftext|>")
}

/// Mistral's third vocabulary. Its templates write the space behind `[INST]` themselves.
pub(super) fn is_mistral_v3(table: &TokenTable<'_>) -> bool {
    has(table, &[(3, "[INST]"), (4, "[/INST]"), (5, "[TOOL_CALLS]")])
}

/// The pre-tokenizer of a file of early 2024, which lacks its name, if its vocabulary is a known one.
pub(super) fn pre_tokenizer(table: &TokenTable<'_>) -> Option<&'static str> {
    const KNOWN: [(&str, [(u32, &str); 2]); 2] = [
        ("qwen2", [(151_643, "<|endoftext|>"), (151_644, "<|im_start|>")]),
        ("llama-bpe", [(128_000, "<|begin_of_text|>"), (128_001, "<|end_of_text|>")]),
    ];
    KNOWN.iter().find(|(_, tokens)| has(table, tokens)).map(|&(name, _)| name)
}
