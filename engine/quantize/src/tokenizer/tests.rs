use crate::QuantizeError;
use crate::gguf::tests::Builder;
use crate::gguf::{GgmlType, Gguf};
use crate::testing::{metadata, metadata_without, tiny_gguf};
use crate::tokenizer::{TokenTable, rebuild};
use tokenizers::Tokenizer;

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
