use crate::QuantizeError;
use crate::gguf::tests::Builder;
use crate::gguf::{GgmlType, Gguf};
use crate::testing::{metadata, metadata_without, tiny_gguf};
use crate::tokenizer::{TokenTable, rebuild};
use tokenizers::Tokenizer;

mod sentencepiece_file;

fn tokenizer(file: &[u8]) -> Result<Tokenizer, QuantizeError> {
    let gguf = Gguf::parse(file)?;
    let json = rebuild(&gguf, &TokenTable::read(&gguf)?)?;
    Ok(Tokenizer::from_bytes(json).unwrap())
}

#[test]
fn a_byte_level_tokenizer_merges_splits_digits_and_keeps_special_tokens_whole() {
    let tokenizer = tokenizer(&tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0)).unwrap();
    let encoding = tokenizer.encode("in the 42<|im_end|>é", true).unwrap();
    let tokens = ["i", "n", "Ġthe", "Ġ", "4", "2", "<|im_end|>", "Ã", "©"];
    assert_eq!(encoding.get_tokens(), tokens);
    assert_eq!(tokenizer.decode(encoding.get_ids(), false).unwrap(), "in the 42<|im_end|>é");
    assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "in the 42é");
}

#[test]
fn a_beginning_of_text_is_added_where_the_file_says_so() {
    let plain = tokenizer(&metadata("llama").build()).unwrap();
    let with = metadata("llama").bool("tokenizer.ggml.add_bos_token", true);
    let with = tokenizer(&with.build()).unwrap();
    assert_eq!(plain.encode("he", true).unwrap().get_tokens(), ["he"]);
    assert_eq!(with.encode("he", true).unwrap().get_tokens(), ["<|im_start|>", "he"]);
    assert_eq!(with.encode("he", false).unwrap().get_tokens(), ["he"]);
}

fn sentencepiece() -> Builder {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut types = vec![2, 3, 3];
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    types.extend([6; 256]);
    let pieces = ["▁", "t", "h", "e", "th", "▁t", "▁the", "he"];
    tokens.extend(pieces.map(String::from));
    types.extend([1; 8]);
    let mut scores = vec![0.0; 259];
    scores.extend([-1e9, -1e9, -1e9, -1e9, -1.0, -2.0, -4.0, -3.0]);
    Builder::default()
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .f32s("tokenizer.ggml.scores", &scores)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
}

#[test]
fn a_sentencepiece_tokenizer_merges_by_score_and_falls_back_to_bytes() {
    let tokenizer = tokenizer(&sentencepiece().build()).unwrap();
    let encoding = tokenizer.encode("the é", true).unwrap();
    // "th" is merged first; then no merge makes "▁the" of "▁", "th", "e".
    assert_eq!(encoding.get_tokens(), ["<s>", "▁", "th", "e", "▁", "<0xC3>", "<0xA9>"]);
    assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "the é");
}

#[test]
fn runs_of_spaces_that_a_trainer_defined_are_merged_and_not_sought() {
    // As in Gemma's files: no space before a text, and the runs, spelled with spaces, before all that was learned.
    let mut tokens: Vec<String> = ["<unk>", "<bos>", "  ", "   ", "\n\n"].map(String::from).to_vec();
    let mut types = vec![3, 3, 4, 4, 4];
    let pieces = ["▁t", "▁th", "▁", "t", "h", "\n", "#"];
    tokens.extend(pieces.map(String::from));
    types.extend([1; 7]);
    let mut scores = vec![-1000.0; 5];
    scores.extend([-0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    let file = |scores: &[f32]| {
        let file = Builder::default().string("tokenizer.ggml.model", "llama");
        let file = file.strings("tokenizer.ggml.tokens", &tokens).i32s("tokenizer.ggml.token_type", &types);
        let file = file.f32s("tokenizer.ggml.scores", scores).bool("tokenizer.ggml.add_space_prefix", false);
        file.u32("tokenizer.ggml.unknown_token_id", 0).u32("tokenizer.ggml.bos_token_id", 1).build()
    };
    let rebuilt = tokenizer(&file(&scores)).unwrap();
    for (text, pieces) in [
        ("th th", &["t", "h", "▁th"][..]),
        // Three spaces are one token, and the fourth of five begins the word only if it is alone.
        ("#   th", &["#", "▁▁▁", "t", "h"]),
        ("#  th\n\nth", &["#", "▁▁", "t", "h", "\n\n", "t", "h"]),
        ("# th", &["#", "▁th"]),
    ] {
        let encoding = rebuilt.encode(text, true).unwrap();
        assert_eq!(encoding.get_tokens()[1..], *pieces, "{text:?}");
        assert_eq!(rebuilt.decode(encoding.get_ids(), true).unwrap(), text);
    }
    // Scores that say nothing are no scores.
    let error = tokenizer(&file(&[-1000.0; 12])).unwrap_err().to_string();
    assert!(error.contains("same score"), "{error}");
}

#[test]
fn listed_merges_do_without_scores() {
    let tokens = ["<unk>", "▁", "t", "h", "▁t", "th"].map(String::from);
    let file = Builder::default().string("tokenizer.ggml.model", "gemma4");
    let file =
        file.strings("tokenizer.ggml.tokens", &tokens).i32s("tokenizer.ggml.token_type", &[3, 1, 1, 1, 1, 1]);
    let file = file.strings("tokenizer.ggml.merges", &["▁ t".to_string(), "t h".to_string()]);
    let tokenizer = tokenizer(&file.u32("tokenizer.ggml.unknown_token_id", 0).build()).unwrap();
    assert_eq!(tokenizer.encode("th th", true).unwrap().get_tokens(), ["th", "▁t", "h"]);
}

#[test]
fn other_kinds_of_tokenizers_are_named() {
    for kind in ["bert", "t5", "rwkv", "plamo2", "no_vocab"] {
        let file = Builder::default().string("tokenizer.ggml.model", kind);
        let error =
            tokenizer(&file.strings("tokenizer.ggml.tokens", &["a".to_string()]).build()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(kind) && error.contains("gpt2, llama"), "{error}");
    }
}

#[test]
fn words_are_split_as_the_families_do() {
    // All bytes as tokens, so that words show in the spaces between encodings: each word is encoded alone.
    let splits = |pre: &str, text: &str| -> Vec<String> {
        let splitting = super::pre_tokenizer::splitting(pre).unwrap();
        let parts = serde_json::json!({
            "version": "1.0", "added_tokens": [], "normalizer": splitting.normalizer,
            "pre_tokenizer": splitting.pre_tokenizer, "post_processor": null, "decoder": null,
            "model": { "type": "BPE", "vocab": {}, "merges": [] },
        });
        let tokenizer: Tokenizer = parts.to_string().parse().unwrap();
        let normalized = match tokenizer.get_normalizer() {
            Some(normalizer) => {
                let mut text = tokenizers::NormalizedString::from(text);
                tokenizers::Normalizer::normalize(normalizer, &mut text).unwrap();
                text.get().to_string()
            }
            None => text.to_string(),
        };
        let mut words = tokenizers::PreTokenizedString::from(normalized.as_str());
        tokenizers::PreTokenizer::pre_tokenize(tokenizer.get_pre_tokenizer().unwrap(), &mut words).unwrap();
        let offsets = words.get_splits(tokenizers::OffsetReferential::Original, tokenizers::OffsetType::Byte);
        offsets.into_iter().map(|(_, (from, to), _)| normalized[from..to].to_string()).collect()
    };
    let text = "I'M camelCase 12345 e\u{301}/\n";
    for (pre, words) in [
        ("gpt-2", &["I", "'", "M", " camelCase", " 12345", " e", "\u{301}/", "\n"][..]),
        ("mpt", &["I", "'", "M", " camelCase", " 12345", " é", "/", "\n"]),
        ("refact", &["I", "'", "M", " camelCase", " ", "1", "2", "3", "4", "5", " e", "\u{301}/", "\n"]),
        ("llama-bpe", &["I", "'M", " camelCase", " ", "123", "45", " e", "\u{301}/\n"]),
        ("dbrx", &["I", "'M", " camelCase", " ", "123", "45", " e", "\u{301}/\n"]),
        ("qwen2", &["I", "'M", " camelCase", " ", "1", "2", "3", "4", "5", " é", "/\n"]),
        ("qwen35", &["I", "'M", " camelCase", " ", "1", "2", "3", "4", "5", " é", "/\n"]),
        ("gpt-4o", &["I'M", " camel", "Case", " ", "123", "45", " e\u{301}", "/\n"]),
        ("tekken", &["I", "'M", " camel", "Case", " ", "1", "2", "3", "4", "5", " e\u{301}", "/\n"]),
        ("deepseek-v3", &["I", "'M", " camelCase", " ", "123", "45", " e\u{301}", "/\n"]),
    ] {
        assert_eq!(splits(pre, text), words, "{pre}");
    }
}

#[test]
fn unknown_kinds_and_wrong_lists_are_errors() {
    let other = Builder::default().string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "odd");
    let other = other.strings("tokenizer.ggml.tokens", &["a".to_string()]).build();
    let error = tokenizer(&other).unwrap_err().to_string();
    assert!(error.contains("\"odd\"") && error.contains("tokenizer.ggml.pre"), "{error}");
    let short = Builder::default()
        .strings("tokenizer.ggml.tokens", &["a".to_string()])
        .i32s("tokenizer.ggml.token_type", &[1, 1])
        .build();
    assert!(matches!(tokenizer(&short), Err(QuantizeError::Tokenizer { .. })));
    let merge = Builder::default()
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", &["a".to_string()])
        .strings("tokenizer.ggml.merges", &["a b".to_string()])
        .build();
    assert!(matches!(tokenizer(&merge), Err(QuantizeError::Tokenizer { .. })), "merge of no tokens");
}

#[test]
fn a_missing_pre_tokenizer_is_told_and_not_guessed() {
    let with = metadata_without("llama", &["tokenizer.ggml.pre"]);
    for file in [with.clone().build(), with.string("tokenizer.ggml.pre", "").build()] {
        let error = tokenizer(&file).unwrap_err();
        assert!(matches!(error, QuantizeError::NoPreTokenizer), "{error}");
        let error = error.to_string();
        assert!(error.contains("tokenizer.ggml.pre") && error.contains("newer file"), "{error}");
    }
}

#[test]
fn published_vocabularies_are_known_without_it() {
    // Name, marks of the vocabulary, whether a text begins with a token.
    for (name, first, marks, begins) in [
        ("qwen2", 151_643, ["<|endoftext|>", "<|im_start|>"], false),
        ("llama-bpe", 128_000, ["<|begin_of_text|>", "<|end_of_text|>"], true),
    ] {
        let mut tokens: Vec<String> = (0..first).map(|id| format!("t{id}")).collect();
        tokens.extend(marks.map(String::from));
        let mut types = vec![1; tokens.len()];
        types[first..].fill(3);
        let file = |tokens: &[String]| {
            let file = Builder::default().string("tokenizer.ggml.model", "gpt2");
            let file =
                file.strings("tokenizer.ggml.tokens", tokens).i32s("tokenizer.ggml.token_type", &types);
            let file = file.strings("tokenizer.ggml.merges", &[]);
            file.u32("tokenizer.ggml.bos_token_id", u32::try_from(first).unwrap()).build()
        };
        let known = file(&tokens);
        let gguf = Gguf::parse(&known).unwrap();
        let table = TokenTable::read(&gguf).unwrap();
        assert_eq!(table.pre_tokenizer(&gguf), Some(name));
        assert_eq!(table.begin(&gguf).unwrap().is_some(), begins, "{name}");
        tokens[first + 1] = "another".to_string();
        assert!(matches!(tokenizer(&file(&tokens)), Err(QuantizeError::NoPreTokenizer)));
    }
}
