//! Normalizers, pre-tokenizers and added tokens against Hugging Face's library, on texts that are made to hurt. Windows
//! and chunks are tiny in tests, so that every boundary is met.

use super::*;

/// Bytes, and merges of any two characters of these texts, so that ids show where words end.
fn tokenizer(normalizer: Value, pre_tokenizer: Value) -> Value {
    let mut json = byte_level();
    let characters: Vec<String> = "abelo wrd\n\t1'.,éÉ̂ﬁĠĊ▁日Ã©"
        .chars()
        .chain(['\u{301}', '\u{327}'])
        .flat_map(|c| {
            let bytes = c.to_string().bytes().map(|byte| byte_level::char_of(byte).to_string()).collect();
            [c.to_string(), bytes]
        })
        .flat_map(|text: String| text.chars().map(String::from).collect::<Vec<_>>())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let mut id = vocab.values().filter_map(Value::as_u64).max().unwrap() + 1;
    let mut merges = Vec::new();
    for c in &characters {
        vocab.entry(c.clone()).or_insert_with(|| {
            id += 1;
            (id - 1).into()
        });
    }
    for left in &characters {
        for right in &characters {
            merges.push(json!([left, right]));
            vocab.entry(format!("{left}{right}")).or_insert_with(|| {
                id += 1;
                (id - 1).into()
            });
        }
    }
    let first = id;
    json["model"]["merges"] = merges.into();
    json["normalizer"] = normalizer;
    json["pre_tokenizer"] = pre_tokenizer;
    json["added_tokens"] = json!([
        {"id": first, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
        {"id": first + 1, "content": "<mask>", "special": true, "single_word": false, "lstrip": true, "rstrip": true, "normalized": false},
        {"id": first + 2, "content": "wor", "special": false, "single_word": true, "lstrip": false, "rstrip": false, "normalized": false},
        {"id": first + 3, "content": "É1!", "special": false, "single_word": false, "lstrip": false, "rstrip": true, "normalized": true},
        {"id": first + 4, "content": "<|end", "special": false, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
        {"id": first + 5, "content": "ab 1", "special": true, "single_word": false, "lstrip": true, "rstrip": false, "normalized": true},
    ]);
    json
}

fn hurtful(rng: &mut Pcg32, length: usize) -> String {
    const PARTS: &[&str] = &[
        "a",
        "b",
        "ab",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "e\u{301}",
        "e\u{327}\u{301}",
        "\u{301}",
        "é",
        "É",
        "É1!",
        "ﬁ",
        "K",
        "1",
        "12",
        "123456789",
        "日",
        "本",
        "가",
        "가",
        "\u{1100}\u{1161}\u{11a8}",
        "'ll",
        "'S",
        "hello",
        "world",
        "wor",
        ".",
        "...",
        "#!",
        "<|end|>",
        "<|end",
        "|>",
        "<mask>",
        " <mask> ",
        "ab 1",
        "▁",
        "Ġ",
        "\u{a0}",
        "\u{2028}",
        "\u{0}",
        "👩‍👩‍👧",
        "_",
        "ſ",
        "İ",
        "̂",
    ];
    let mut text = String::new();
    while text.len() < length {
        let part = PARTS[rng.next_u32() as usize % PARTS.len()];
        // Now and then a run, longer than a window.
        let times = if rng.next_u32().is_multiple_of(12) { 1 + rng.next_u32() as usize % 30 } else { 1 };
        text.push_str(&part.repeat(times));
    }
    text
}

fn assert_as_the_crate(json: &Value, rounds: usize, seed: u64) {
    let (ours, mut theirs) = (ours(json), theirs(json));
    let mut rng = Pcg32::seed_from_u64(seed);
    for round in 0..rounds {
        let text = hurtful(&mut rng, round % 120);
        theirs.set_encode_special_tokens(false);
        let expected = theirs.encode_fast(text.as_str(), true).unwrap();
        let what = || format!("{text:?} with {} and {}", json["normalizer"], json["pre_tokenizer"]);
        assert_eq!(ours.encode(&text, true).unwrap(), expected.get_ids(), "{}", what());
        assert!(text.len() / ours.longest_token() <= expected.get_ids().len(), "{}", what());
        theirs.set_encode_special_tokens(true);
        let expected = theirs.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(ours.encode_plain(&text).unwrap(), expected.get_ids(), "plain {}", what());
    }
}

fn split(pattern: &str, behavior: &str, invert: bool) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert})
}

fn bytes(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn sequence(of: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": of, "normalizers": of})
}

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CL100K: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";
const DEEPSEEK_3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
const KIMI: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The pre-tokenizers of known models.
fn pre_tokenizers() -> Vec<Value> {
    let isolated = |pattern| split(pattern, "Isolated", false);
    let digits = |individual: bool| json!({"type": "Digits", "individual_digits": individual});
    let punctuation = |behavior: &str| json!({"type": "Punctuation", "behavior": behavior});
    let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
    let mut all = vec![Value::Null, bytes(true), sequence(&[digits(true), bytes(true)])];
    all.extend(
        [LLAMA_3, O200K, CL100K, KIMI, BLOOM].map(|pattern| sequence(&[isolated(pattern), bytes(false)])),
    );
    all.push(sequence(&[
        isolated(r"\p{N}{1,3}"),
        isolated("[一-龥\u{3040}-ゟ゠-ヿ]+"),
        isolated(DEEPSEEK_3),
        bytes(false),
    ]));
    let coder = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{d7ff}]+"].map(isolated);
    all.push(sequence(&[&coder[..], &[digits(true), bytes(false)]].concat()));
    let falcon = [punctuation("Contiguous"), bytes(true), digits(false), isolated("[0-9][0-9][0-9]")];
    all.push(sequence(&falcon));
    all.push(json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}));
    all.extend(["first", "always", "never"].map(|scheme| metaspace(scheme, true)));
    all.push(metaspace("first", false));
    all.extend([json!({"type": "Whitespace"}), json!({"type": "WhitespaceSplit"})]);
    all.push(json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}));
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] {
        all.extend([
            split(r"[ab]|\s+", behavior, false),
            split(r"[ab]|\s+", behavior, true),
            punctuation(behavior),
        ]);
    }
    all
}

/// The normalizers of known models, and some more.
fn normalizers() -> Vec<Value> {
    let replace =
        |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let spaces = replace(json!({"String": " "}), "▁");
    let mut all: Vec<Value> = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "ByteLevel"]
        .map(|name| json!({"type": name}))
        .into();
    all.extend([Value::Null, spaces.clone()]);
    all.push(sequence(&[json!({"type": "Prepend", "prepend": "▁"}), spaces]));
    all.push(json!({"type": "Strip", "strip_left": true, "strip_right": false}));
    all.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    all.push(sequence(&[
        json!({"type": "NFD"}),
        json!({"type": "StripAccents"}),
        json!({"type": "Lowercase"}),
    ]));
    all.push(sequence(&[replace(json!({"Regex": " {2,}"}), " "), replace(json!({"String": "ab"}), "ba1")]));
    all
}

#[test]
fn pre_tokenizers_split_as_the_crate() {
    for (seed, pre_tokenizer) in (0..).zip(pre_tokenizers()) {
        assert_as_the_crate(&tokenizer(Value::Null, pre_tokenizer), 150, seed);
    }
}

/// Line breaks with more white space between them than a window holds.
#[test]
fn white_space_is_searched_to_its_end() {
    for pre_tokenizer in pre_tokenizers() {
        let json = tokenizer(Value::Null, pre_tokenizer);
        let (ours, theirs) = (ours(&json), theirs(&json));
        for text in [1, 7, 15, 16, 40, 100].map(|count| format!("a\n{0}\nb \n{0}b{0}\n", " ".repeat(count))) {
            let expected = theirs.encode_fast(text.as_str(), true).unwrap();
            let what = format!("{text:?} with {}", json["pre_tokenizer"]);
            assert_eq!(ours.encode(&text, true).unwrap(), expected.get_ids(), "{what}");
        }
    }
}

#[test]
fn normalizers_normalize_as_the_crate() {
    for (seed, normalizer) in (100..).zip(normalizers()) {
        for pre_tokenizer in [Value::Null, bytes(true)] {
            assert_as_the_crate(&tokenizer(normalizer.clone(), pre_tokenizer), 150, seed);
        }
    }
}

/// What the template did not write is no special token, though a normalizer moves it.
#[test]
fn untrusted_parts_are_known_behind_a_normalizer() {
    let nfc = tokenizer(json!({"type": "NFC"}), Value::Null);
    let tokenizer = ours(&nfc);
    let id = tokenizer.token_to_id("ab 1").unwrap();
    let encode = |text: &str, untrusted: &[std::ops::Range<usize>]| {
        tokenizer.encode_with_untrusted(text, untrusted, &EncodeLimit::default()).unwrap()
    };
    // 3 bytes become 2, so the token begins at 4 in the normalized text and at 6 in the text.
    let text = "e\u{301}e\u{301}ab 1ab 1";
    let count = |ids: &[TokenId]| ids.iter().filter(|&&found| found == id).count();
    assert_eq!(count(&encode(text, &[])), 2);
    for (range, expected) in
        [(0..6, 2), (0..7, 1), (6..7, 1), (9..10, 1), (10..14, 1), (9..11, 0), (0..14, 0)]
    {
        assert_eq!(count(&encode(text, &only(range.clone()))), expected, "{range:?}");
    }
}

/// The same for a real vocabulary, in the cut that the repository has.
#[test]
fn long_texts_have_the_tokens_of_the_crate() {
    let theirs: tokenizers::Tokenizer =
        String::from_utf8(crate::testing::sentencepiece_tokenizer().to_vec()).unwrap().parse().unwrap();
    let ours = Tokenizer::from_json(crate::testing::sentencepiece_tokenizer()).unwrap();
    let mut rng = Pcg32::seed_from_u64(8);
    for round in 0..60 {
        let mut text = hurtful(&mut rng, round * 20);
        text.push_str("The sky is blue  Once upon a time, there was a little girl.\n你好世界");
        assert_eq!(
            ours.encode(&text, true).unwrap(),
            theirs.encode_fast(text.as_str(), true).unwrap().get_ids(),
            "{text:?}"
        );
    }
}
