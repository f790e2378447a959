//! `tokenizer.model`: fixtures/tokenizer.py wrote one and printed SentencePiece's ids of the texts here. Those with added
//! tokens are of transformers' converter.

use crate::{QuantizeError, tokenizer_of_files};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

const MODEL: &[u8] = include_bytes!("../../../fixtures/tokenizer.model");

fn json_of(model: &[u8], config: &Value, added: &Value) -> Result<Vec<u8>, QuantizeError> {
    let (config, added) = (config.to_string(), added.to_string());
    tokenizer_of_files(&[
        ("tokenizer.model", model),
        ("tokenizer_config.json", config.as_bytes()),
        ("added_tokens.json", added.as_bytes()),
    ])
}

fn tokenizer(config: &Value) -> Tokenizer {
    Tokenizer::from_bytes(json_of(MODEL, config, &json!({})).unwrap()).unwrap()
}

fn refused(model: &[u8], config: &Value) -> String {
    json_of(model, config, &json!({})).unwrap_err().to_string()
}

#[test]
fn ids_are_those_of_sentencepiece() {
    let tokenizer = tokenizer(&json!({}));
    for (text, ids) in [
        ("the token", &[264, 297][..]),
        (" the  tokens,\n\tand 数", &[307, 264, 307, 297, 316, 323, 14, 13, 309, 277, 307, 234, 153, 180]),
        ("naïve", &[284, 304, 281]),
        ("a", &[260]),
        ("", &[]),
    ] {
        let encoding = tokenizer.encode(text, true).unwrap();
        assert_eq!(encoding.get_ids(), [&[1], ids].concat(), "{text:?}");
        assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), text);
    }
}

#[test]
fn added_tokens_have_the_properties_that_the_files_say() {
    let end = json!({
        "content": "<end>", "lstrip": false, "rstrip": true, "normalized": false, "single_word": false, "special": true,
    });
    let text = "the<end>  model <tag>the</s> model";
    for (config, ids) in [
        (json!({}), &[1, 264, 64, 272, 314, 66, 307, 296, 307, 3, 264, 2, 307, 296][..]),
        (json!({ "added_tokens_decoder": { "340": end } }), &[1, 264, 340, 296, 307, 3, 264, 2, 307, 296]),
        (json!({ "legacy": false }), &[1, 264, 64, 272, 314, 66, 307, 296, 307, 3, 310, 262, 2, 296]),
        (
            json!({ "add_bos_token": false, "legacy": null }),
            &[264, 64, 272, 314, 66, 307, 296, 307, 3, 264, 2, 307, 296],
        ),
    ] {
        assert_eq!(tokenizer(&config).encode(text, true).unwrap().get_ids(), ids, "{config}");
    }
    let both = tokenizer(&json!({ "add_eos_token": true, "bos_token": { "content": "<s>" } }));
    assert_eq!(both.encode("a", true).unwrap().get_ids(), [1, 260, 2]);
    let gemma = tokenizer(&json!({ "tokenizer_class": "GemmaTokenizer", "bos_token": "<s>" }));
    assert_eq!(gemma.encode("the token", true).unwrap().get_ids(), [1, 310, 262, 297]);
    let named = json_of(MODEL, &json!({}), &json!({ "<|im_end|>": 340 })).unwrap();
    let named = Tokenizer::from_bytes(named).unwrap();
    assert_eq!(named.encode("model <|im_end|>a", false).unwrap().get_ids(), [296, 340, 309]);
}

#[test]
fn other_tokenizers_are_refused_by_name() {
    let unigram = with_field(2, &[3 << 3, 1]);
    assert!(refused(&unigram, &json!({})).contains("Unigram"), "{}", refused(&unigram, &json!({})));
    let normalizes = with_field(3, &[4 << 3, 1]);
    assert!(refused(&normalizes, &json!({})).contains("drops spaces"));
    let other = refused(MODEL, &json!({ "tokenizer_class": "XLNetTokenizer" }));
    assert!(other.contains("XLNetTokenizer") && other.contains("LlamaTokenizer"), "{other}");
    let gap = json!({ "added_tokens_decoder": { "999": { "content": "<far>" } } });
    assert!(refused(MODEL, &gap).contains("999"), "{}", refused(MODEL, &gap));
    let no_id = json!({ "added_tokens_decoder": { "x": { "content": "<far>" } } });
    assert!(refused(MODEL, &no_id).contains("\"x\""));
    let unigram = json!({ "model": { "type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]] } }).to_string();
    let unigram = tokenizer_of_files(&[("tokenizer.json", unigram.as_bytes())]).unwrap_err().to_string();
    assert!(unigram.contains("Unigram") && unigram.contains("BPE"), "{unigram}");
    let nothing = tokenizer_of_files(&[]).unwrap_err().to_string();
    assert!(nothing.contains("tokenizer.model"), "{nothing}");
}

/// The file, with a field of one of its messages written once more: the last one counts.
fn with_field(message: u8, field: &[u8]) -> Vec<u8> {
    [MODEL, &[message << 3 | 2, field.len() as u8], field].concat()
}

#[test]
fn damaged_files_are_errors() {
    for length in (0..MODEL.len()).step_by(61) {
        // A file may end between two fields; then tokens or the normalizer's properties are missing.
        if let Err(error) = json_of(&MODEL[..length], &json!({}), &json!({})) {
            assert!(!error.to_string().is_empty());
        }
    }
    let mut damaged = MODEL.to_vec();
    for bit in (0..MODEL.len() * 8).step_by(397) {
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = json_of(&damaged, &json!({}), &json!({}));
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for bytes in [&b"IQ== 0\nIg== 1\n"[..], &[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]] {
        let error = refused(bytes, &json!({}));
        assert!(error.contains("not a whole SentencePiece file"), "{error}");
    }
}
