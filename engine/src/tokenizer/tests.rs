mod components;
mod hostile;
mod sentencepiece;

use super::decoder::DecoderState;
use super::*;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "special": special,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
}

/// A byte-level tokenizer: 256 bytes, some merges, and added tokens.
fn byte_level() -> Value {
    let mut json: Value = serde_json::from_slice(&crate::testing::byte_tokenizer()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("o", "r"), ("Ã", "©")];
    for (id, (left, right)) in (256..).zip(merges) {
        vocab.insert(format!("{left}{right}"), id.into());
    }
    json["model"]["merges"] = merges.map(|(left, right)| format!("{left} {right}")).as_slice().into();
    json["added_tokens"] = json!([added(263, "<|end|>", true), added(264, "<tool>", false)]);
    json
}

/// A SentencePiece-like tokenizer, as Llama 2's: "▁" for spaces, bytes for what is unknown, "<s>" begins a text.
fn pieces() -> Value {
    let mut vocab = serde_json::Map::new();
    for (id, token) in (0..).zip(["<unk>", "<s>", "</s>"]) {
        vocab.insert(token.into(), id.into());
    }
    for byte in 0..256 {
        vocab.insert(format!("<0x{byte:02X}>"), (byte + 3).into());
    }
    for (id, token) in (259..).zip(["▁", "a", "b", "c", "▁a", "bc", "é"]) {
        vocab.insert(token.into(), id.into());
    }
    json!({
        "added_tokens": [added(0, "<unk>", true), added(1, "<s>", true), added(2, "</s>", true)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": [["▁", "a"], ["b", "c"]]}
    })
}

#[test]
fn plain_text_can_be_surrounded() {
    let tokenizer = Tokenizer::from_json(pieces().to_string().as_bytes()).unwrap();
    assert_eq!(
        tokenizer.surround(&tokenizer.encode_plain("abc").unwrap()),
        tokenizer.encode("abc", true).unwrap()
    );
    let spelled = tokenizer.surround(&tokenizer.encode_plain("</s>").unwrap());
    assert_eq!(spelled[0], 1);
    assert!(!spelled.contains(&2) && spelled.len() > 2, "{spelled:?}");
}

fn metaspace() -> Value {
    let mut json = pieces();
    json["normalizer"] = Value::Null;
    json["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    json["decoder"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    json
}

fn without_decoder() -> Value {
    let mut json = pieces();
    json["decoder"] = Value::Null;
    json
}

fn ignoring_merges() -> Value {
    let mut json = byte_level();
    json["model"]["ignore_merges"] = true.into();
    // Reachable by no merge.
    json["model"]["vocab"]["world"] = 262.into();
    json["model"]["vocab"].as_object_mut().unwrap().remove("Ã©");
    json["model"]["merges"].as_array_mut().unwrap().pop();
    json
}

fn without_bytes() -> Value {
    let mut json = pieces();
    json["model"]["byte_fallback"] = false.into();
    json
}

/// Every word of up to five letters a and b, and every way to merge two of them, in a random order: many merges
/// compete for each place, and many lead to the same word.
fn competing(seed: u64) -> Value {
    let mut words = vec!["a".to_string(), "b".to_string()];
    for at in 0..30 {
        words.extend(["a", "b"].map(|letter| format!("{}{letter}", words[at])));
    }
    let mut merges: Vec<String> = words
        .iter()
        .flat_map(|left| words.iter().map(move |right| (left, right)))
        .filter(|(left, right)| left.len() + right.len() <= 5)
        .map(|(left, right)| format!("{left} {right}"))
        .collect();
    let mut rng = Pcg32::seed_from_u64(seed);
    for at in (1..merges.len()).rev() {
        merges.swap(at, rng.next_u32() as usize % (at + 1));
    }
    let vocab: serde_json::Map<String, Value> = words.into_iter().zip((0..).map(Value::from)).collect();
    json!({"model": {"type": "BPE", "vocab": vocab, "merges": merges}})
}

#[test]
fn competing_merges_are_taken_in_order() {
    let mut rng = Pcg32::seed_from_u64(5);
    for seed in 0..20 {
        let (ours, theirs) = (ours(&competing(seed)), theirs(&competing(seed)));
        for length in 0..200 {
            let word: String =
                (0..length % 40).map(|_| if rng.next_u32() % 2 == 0 { 'a' } else { 'b' }).collect();
            let expected = theirs.encode_fast(word.as_str(), false).unwrap();
            assert_eq!(ours.encode(&word, false).unwrap(), expected.get_ids(), "{word}");
        }
    }
}

fn all() -> [Value; 6] {
    [byte_level(), pieces(), metaspace(), without_decoder(), ignoring_merges(), without_bytes()]
}

fn ours(json: &Value) -> Tokenizer {
    Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
}

/// The whole of the `tokenizers` crate, as the oracle.
fn theirs(json: &Value) -> tokenizers::Tokenizer {
    json.to_string().parse().unwrap()
}

/// A text of `length` characters out of a few kinds, so that merges, specials and broken words meet often.
fn text(rng: &mut Pcg32, length: usize) -> String {
    const PARTS: &[&str] = &[
        "a",
        "b",
        "bc",
        "c",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "hello",
        " world",
        "wor",
        "he",
        "ll",
        "é",
        "e\u{301}",
        "日",
        "本語",
        "😀",
        "👩‍👩‍👧",
        "\u{0}",
        "\u{7f}",
        "\u{ad}",
        "▁",
        "Ġ",
        "<|end|>",
        "<tool>",
        "</s>",
        "<s>",
        "<0x41>",
        "<|en",
        "d|>",
        "123",
        "'s",
        "\u{FFFD}",
        "\u{200f}",
        "שלום",
        "\u{10FFFF}",
    ];
    (0..length).map(|_| PARTS[rng.next_u32() as usize % PARTS.len()]).collect()
}

#[test]
fn encodes_as_the_crate() {
    let mut rng = Pcg32::seed_from_u64(1);
    for json in all() {
        let (ours, mut theirs) = (ours(&json), theirs(&json));
        for round in 0..400 {
            let text = text(&mut rng, round % 40);
            for special in [false, true] {
                theirs.set_encode_special_tokens(false);
                let expected = theirs.encode_fast(text.as_str(), special).unwrap();
                assert_eq!(ours.encode(&text, special).unwrap(), expected.get_ids(), "{text:?}");
            }
            theirs.set_encode_special_tokens(true);
            let expected = theirs.encode_fast(text.as_str(), false).unwrap();
            assert_eq!(ours.encode_plain(&text).unwrap(), expected.get_ids(), "{text:?}");
        }
    }
}

#[test]
fn decodes_as_the_crate() {
    let mut rng = Pcg32::seed_from_u64(2);
    for json in all() {
        let (ours, theirs) = (ours(&json), theirs(&json));
        let byte_tokens = json["decoder"].to_string().contains("ByteFallback");
        for round in 0..2000 {
            // Beyond the vocabulary too.
            let ids: Vec<TokenId> = (0..round % 12).map(|_| rng.next_u32() % 270).collect();
            for skip in [false, true] {
                // The crate's Strip panics on no text at all.
                let Ok(expected) = std::panic::catch_unwind(|| theirs.decode(&ids, skip).unwrap()) else {
                    continue;
                };
                // Of a run of byte tokens that is not all text, the crate keeps nothing, and this decoder what is text.
                if !byte_tokens || !expected.contains('\u{FFFD}') {
                    assert_eq!(ours.decode(&ids, skip), expected, "{ids:?}");
                }
            }
        }
    }
}

/// What has been given is never taken back, and little is held back.
#[test]
fn streams_what_it_decodes() {
    let tokenizer = ours(&byte_level());
    let text = "hello wörld 日本語 👩‍👩‍👧 é";
    let ids = tokenizer.encode(text, false).unwrap();
    let mut stream = Detokenizer::new(&tokenizer, true);
    let mut got = String::new();
    for (n, &id) in ids.iter().enumerate() {
        stream.push(id, &mut got);
        assert!(text.starts_with(&got));
        let whole = tokenizer.decode(&ids[..=n], true);
        assert_eq!(got, whole.trim_end_matches('\u{FFFD}'));
    }
    assert_eq!(got, text);
    // The first byte of two: held back, and a replacement character in the end.
    stream.push(ids[ids.len() - 1], &mut got);
    stream.push(0xC3, &mut got);
    let before = got.len();
    stream.finish(&mut got);
    assert_eq!(&got[before..], "\u{FFFD}");
    stream.finish(&mut got);
    assert_eq!(got.len(), before + 3);
}

#[test]
fn a_stream_begins_anew_after_its_end() {
    for json in all() {
        let tokenizer = ours(&json);
        let ids = tokenizer.encode("a bc", false).unwrap();
        let mut stream = Detokenizer::new(&tokenizer, false);
        for _ in 0..2 {
            let mut text = String::new();
            ids.iter().for_each(|&id| stream.push(id, &mut text));
            stream.finish(&mut text);
            assert_eq!(text, tokenizer.decode(&ids, false));
        }
    }
}

#[test]
fn bytes_that_are_no_text() {
    let tokenizer = ours(&byte_level());
    let mut rng = Pcg32::seed_from_u64(3);
    let stand_in = |byte: u8| {
        (0..256).find(|&id| {
            let mut state = DecoderState::start(&tokenizer.decoder);
            let mut text = String::new();
            tokenizer.decoder.push(&mut state, tokenizer.id_to_token(id).unwrap(), &mut text);
            tokenizer.decoder.finish(&mut state, &mut text);
            text == String::from_utf8_lossy(&[byte]) && (byte < 128 || id == u32::from(byte))
        })
    };
    for _ in 0..3000 {
        // Lead and continuation bytes of every length, and boundaries of what is valid.
        let alphabet =
            [b'a', 0x80, 0x8F, 0x9F, 0xBF, 0xC2, 0xDF, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF];
        let bytes: Vec<u8> =
            (0..rng.next_u32() % 9).map(|_| alphabet[rng.next_u32() as usize % alphabet.len()]).collect();
        let ids: Vec<TokenId> = bytes.iter().map(|&byte| stand_in(byte).unwrap()).collect();
        assert_eq!(tokenizer.decode(&ids, false), String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn special_tokens() {
    let tokenizer = ours(&byte_level());
    let ids = tokenizer.encode("hello<|end|><tool>", false).unwrap();
    assert_eq!(ids, [259, 263, 264]);
    assert!(tokenizer.is_special(263) && !tokenizer.is_special(264) && !tokenizer.is_special(259));
    assert_eq!(tokenizer.decode(&ids, true), "hello<tool>");
    assert!(tokenizer.encode_plain("<|end|>").unwrap().len() > 3);
    assert_eq!(tokenizer.encode_plain("<tool>").unwrap(), [264]);
    assert_eq!((tokenizer.token_to_id("<|end|>"), tokenizer.id_to_token(263)), (Some(263), Some("<|end|>")));
    assert_eq!((tokenizer.token_to_id("Ġw"), tokenizer.id_to_token(260)), (Some(260), Some("Ġw")));
    assert_eq!((tokenizer.token_to_id("no such"), tokenizer.id_to_token(265)), (None, None));
    assert_eq!(tokenizer.vocab_size(), 265);
}

fn only(range: std::ops::Range<usize>) -> [std::ops::Range<usize>; 1] {
    [range]
}

/// Special tokens in an untrusted part are text, as `encode_plain` has it; the others are tokens, as always.
#[test]
fn untrusted_parts_hold_no_special_tokens() {
    let mut rng = Pcg32::seed_from_u64(6);
    for json in all() {
        let tokenizer = ours(&json);
        for round in 0..300 {
            let text = text(&mut rng, round % 40);
            let whole = only(0..text.len());
            let expected = tokenizer.encode(&text, false).unwrap();
            assert_eq!(
                tokenizer.encode_with_untrusted(&text, &[], &EncodeLimit::default()).unwrap(),
                expected
            );
            let expected = tokenizer.encode_plain(&text).unwrap();
            assert_eq!(
                tokenizer.encode_with_untrusted(&text, &whole, &EncodeLimit::default()).unwrap(),
                expected,
                "{text:?}"
            );
        }
    }
    let tokenizer = ours(&byte_level());
    let encode = |text: &str, untrusted: &[std::ops::Range<usize>]| {
        tokenizer.encode_with_untrusted(text, untrusted, &EncodeLimit::default()).unwrap()
    };
    let end = tokenizer.encode_plain("<|end|>").unwrap();
    let both = [&[259, 263][..], &end, &[263]].concat();
    assert_eq!(encode("hello<|end|><|end|><|end|>", &[0..5, 12..19]), both);
    // A single character is enough.
    for at in 0..7 {
        assert_eq!(encode("<|end|>", &only(at..at + 1)), end);
        assert_eq!(encode("<|end|><|end|>", &only(at..at + 1)), [&end[..], &[263]].concat());
    }
    assert_eq!(encode("é<|end|>é<|end|>", &[0..2, 9..11]), encode("é<|end|>é<|end|>", &[]));
    assert_eq!(encode("<tool>", &only(0..6)), [264]);
}

/// Tokens within tokens, tokens of one character, and words of the vocabulary that are special.
#[test]
fn no_way_around_leads_to_a_special_token() {
    let mut json = ignoring_merges();
    let mut tokens = vec![added(262, "world", true), added(263, "<|end|>", true), added(264, "|end|", true)];
    tokens.push(added(265, "世", true));
    tokens.extend([
        added(266, "<|fim|>", false),
        added(267, "<｜User｜>", false),
        added(268, "<tool>", false),
    ]);
    json["added_tokens"] = tokens.into();
    let tokenizer = ours(&json);
    for text in ["<|end|>", "|end|", "world", "世", " world", "<<|end|>>世世world"] {
        let ids =
            tokenizer.encode_with_untrusted(text, &only(0..text.len()), &EncodeLimit::default()).unwrap();
        assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{text}: {ids:?}");
        assert_eq!(tokenizer.decode(&ids, false), text);
        assert!(tokenizer.encode(text, false).unwrap().iter().any(|id| tokenizer.is_special(*id)));
    }
    // Tokens that only look like special ones.
    for (text, id, control) in [("<|fim|>", 266, true), ("<｜User｜>", 267, true), ("<tool>", 268, false)] {
        assert_eq!(tokenizer.encode(text, false).unwrap(), [id]);
        let ids =
            tokenizer.encode_with_untrusted(text, &only(0..text.len()), &EncodeLimit::default()).unwrap();
        assert_eq!(ids != [id], control, "{text}");
    }
    // Stand-ins that are in the text already.
    let text: String = ('\u{fdd0}'..='\u{fdef}').chain("<|end|>".chars()).collect();
    let ids = tokenizer.encode_with_untrusted(&text, &only(0..text.len()), &EncodeLimit::default()).unwrap();
    assert_eq!(tokenizer.decode(&ids, false), text);
}

#[test]
fn a_text_begins_with_the_models_token() {
    let tokenizer = ours(&pieces());
    assert_eq!(tokenizer.encode("a", true).unwrap(), [1, 263]);
    assert_eq!(tokenizer.encode("a", false).unwrap(), [263]);
    assert_eq!(tokenizer.encode("", true).unwrap(), [1]);
    assert_eq!(tokenizer.decode(&[1, 263, 264], true), "abc");
}

#[test]
fn very_long_words() {
    let tokenizer = ours(&byte_level());
    let word = "hello".repeat(40_000);
    let ids = tokenizer.encode(&word, false).unwrap();
    assert_eq!(ids, vec![259; 40_000]);
    assert_eq!(tokenizer.decode(&ids, false), word);
}

#[test]
fn files_that_are_wrong_are_named() {
    let edit = |pointer: &str, value: Value| {
        let mut json = byte_level();
        *json.pointer_mut(pointer).unwrap() = value;
        Tokenizer::from_json(json.to_string().as_bytes()).map(|_| ()).unwrap_err().to_string()
    };
    for (pointer, value, part) in [
        ("/model/type", json!("Unigram"), "Unigram"),
        ("/model/merges/0", json!("h q!"), "q!"),
        ("/model/merges/0", json!("one two three"), "not a merge"),
        ("/model/merges/0", json!(["h"]), "two tokens"),
        ("/model/vocab/a", json!(4_000_000_000u32), "too large"),
        ("/model/vocab/a", json!(98), "98"),
        ("/added_tokens/0/id", json!(300), "300"),
        ("/decoder", json!({"type": "WordPiece", "prefix": "##", "cleanup": true}), "WordPiece"),
        ("/pre_tokenizer", json!({"type": "Nonsense"}), "Nonsense"),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""}), "Precompiled"),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": [], "special_tokens": {}}),
            "text",
        ),
    ] {
        let error = edit(pointer, value);
        assert!(error.contains(part), "{pointer}: {error}");
    }
}

#[test]
fn cut_or_garbled_files_are_errors() {
    let bytes = pieces().to_string().into_bytes();
    for end in 0..bytes.len() {
        assert!(Tokenizer::from_json(&bytes[..end]).is_err());
    }
    let mut rng = Pcg32::seed_from_u64(4);
    for json in all() {
        let bytes = json.to_string().into_bytes();
        for _ in 0..2000 {
            let mut bytes = bytes.clone();
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] ^= 1 << (rng.next_u32() % 8);
            // Either is well; a panic is not.
            if let Ok(tokenizer) = Tokenizer::from_json(&bytes) {
                let ids = tokenizer.encode("a bc hello <|end|> é 😀", true).unwrap_or_default();
                tokenizer.decode(&ids, false);
            }
        }
    }
}

#[test]
fn bytes_of_tokens_are_the_text() {
    let tokenizer = ours(&byte_level());
    for text in ["hello world", "é and 日本", "<tool>\n"] {
        let ids = tokenizer.encode(text, false).unwrap();
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id).unwrap()).collect();
        assert_eq!(bytes, text.as_bytes());
    }
    assert_eq!(tokenizer.token_bytes(9999), None);
    let tokenizer = ours(&pieces());
    let bytes = |token: &str| tokenizer.token_bytes(tokenizer.token_to_id(token).unwrap()).unwrap();
    assert_eq!((bytes("▁a"), bytes("<0xE6>"), bytes("bc")), (b" a".to_vec(), vec![0xE6], b"bc".to_vec()));
}
