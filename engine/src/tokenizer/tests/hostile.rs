//! Tokenizer files and texts of an attacker: each is an error soon, or harmless.

use super::super::bounds::*;
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn refused(json: &Value) -> String {
    Tokenizer::from_json(json.to_string().as_bytes())
        .map(|_| ())
        .expect_err(&json.to_string()[..100])
        .to_string()
}

fn with(part: &str, value: Value) -> Value {
    let mut json = byte_level();
    json[part] = value;
    json
}

fn pattern(regex: &str) -> Value {
    with(
        "pre_tokenizer",
        json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}),
    )
}

#[test]
fn patterns_that_may_take_long_are_refused() {
    for (regex, part) in [
        // Looking around without end: quadratic.
        (r"(?=(\d{3})+(?!\d))\d", "looks around"),
        (r"a(?=.*b)|.", "looks around"),
        (r"(?<=a+)b|.", "looks around"),
        // Trying without end.
        (r"(?:a+(?!b))+c", "not supported"),
        (r"[ab]*[ab]*(?!c)", "several repetitions"),
        (r"(a*)\1b", "not supported"),
        (r"(?>(?:a|b)+c)d|.", "not supported"),
        (r"(?<x>a\g<x>?b)", "not supported"),
        (r"a(?!b)c", "middle"),
        // Many copies.
        (r"\p{L}{1000}", "limit is 256"),
        (r"(?:(?:(?:a{50}){50}){50}){50}", "limit is 256"),
        (r"(?:a{0,4294967295}){4294967295}", "limit is 256"),
        // Nothing.
        (r"a*", "empty text"),
        (r"(?=a)", "empty text"),
        (r"", "empty text"),
        (r"(a|)", "empty text"),
    ] {
        let error = refused(&pattern(regex));
        assert!(error.contains(part), "{regex}: {error}");
    }
    assert!(refused(&pattern(&"a".repeat(5000))).contains("5000"));
    assert!(refused(&pattern(&"(".repeat(4000))).contains("cannot be read"));
    let many = vec![pattern(r"[\p{L}\p{N}]+|a{30}")["pre_tokenizer"].clone(); 20];
    assert!(
        refused(&with("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": many}))).contains("256")
    );
}

#[test]
fn normalizers_that_explode_are_refused() {
    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let sequence = |of: Vec<Value>| with("normalizer", json!({"type": "Sequence", "normalizers": of}));
    for (normalizers, part) in [
        (vec![replace("a", "aa"); 10], "1024 times"),
        (vec![replace("a", &"a".repeat(64)); 1], "64 times"),
        (vec![json!({"type": "NFKD"}); 3], "1331 times"),
        (vec![replace("a", &"a".repeat(65))], "65"),
        (vec![json!({"type": "Prepend", "prepend": "a".repeat(100)})], "100"),
        (vec![json!({"type": "Prepend", "prepend": "a"}); 33], "33"),
        (vec![replace("", "a")], "empty"),
        (vec![json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "a"})], "empty"),
        (vec![json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "a"})], "empty"),
    ] {
        let error = refused(&sequence(normalizers.clone()));
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(refused(&with("normalizer", json!({"type": "Precompiled"}))).contains("Precompiled"));
}

#[test]
fn pre_tokenizers_that_explode_are_refused() {
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let metaspace =
        json!({"type": "Metaspace", "replacement": "x", "prepend_scheme": "always", "split": true});
    let sequence = |of: Vec<Value>| with("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": of}));
    // Each doubles what the one before it wrote; each puts a character before every word.
    assert!(refused(&sequence(vec![bytes.clone(); 30])).contains("1073741824"));
    assert!(refused(&sequence(vec![metaspace.clone(); 5])).contains("32"));
    assert!(
        refused(&sequence((0..4).flat_map(|_| [bytes.clone(), metaspace.clone()]).collect()))
            .contains("limit is 12")
    );
    assert!(refused(&sequence(vec![json!({"type": "Whitespace"}); 33])).contains("33"));
}

#[test]
fn large_and_deep_components_are_refused() {
    let mut deep = json!({"type": "Prepend", "prepend": "a"});
    for _ in 0..20 {
        deep = json!({"type": "Sequence", "normalizers": [deep]});
    }
    assert!(refused(&with("normalizer", deep)).contains("levels"));
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        let large = json!({"type": "Sequence", "x": "a".repeat(COMPONENT_BYTES)});
        assert!(refused(&with(part, large)).contains("limit is 65536"));
        // Deeper than any stack.
        let (open, close) = ("[".repeat(30_000), "]".repeat(30_000));
        let json = with(part, json!("here")).to_string().replace("\"here\"", &format!("{open}{close}"));
        let error = Tokenizer::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("levels"), "{part}: {error}");
    }
    let special = json!({"SpecialToken": {"id": "a", "type_id": 0}});
    let many = vec![special; 200];
    let ids: Vec<u32> = vec![1; 1000];
    let template =
        json!({"type": "TemplateProcessing", "single": many, "special_tokens": {"a": {"ids": ids}}});
    assert!(refused(&with("post_processor", template)).contains("limit is 64"));
    let strip = json!({"type": "Sequence", "decoders": [
        {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1_000_000, "stop": 0}]});
    assert!(refused(&with("decoder", strip)).contains("1000000"));
    let grows = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaa"});
    assert!(refused(&with("decoder", grows)).contains("limit is 4"));
}

#[test]
fn large_tables_are_refused() {
    let vocab = |token: &str, id: u64| {
        let mut json = byte_level();
        json["model"]["vocab"][token] = id.into();
        json
    };
    assert!(refused(&vocab("x y", u64::from(TOKENS))).contains("too large"));
    assert!(refused(&vocab(&"x".repeat(TOKEN_BYTES + 1), 300)).contains("4097"));
    let tokens = |count: usize, length: usize| {
        let tokens: Vec<Value> =
            (0..count).map(|n| added(263 + n as u32, &format!("{n:0length$}"), false)).collect();
        with("added_tokens", tokens.into())
    };
    assert!(refused(&tokens(1, ADDED_TOKEN_BYTES + 1)).contains("513"));
    assert!(refused(&tokens(ADDED_BYTES / 512 + 1, 512)).contains("2097664"));
    assert!(Tokenizer::from_json(tokens(20_000, 30).to_string().as_bytes()).is_ok());
    // Those that the normalizer makes long count as such.
    let mut json = tokens(70_000, 20);
    json["normalizer"] = json!({"type": "Prepend", "prepend": "a".repeat(64)});
    json["added_tokens"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|token| token["normalized"] = true.into());
    assert!(refused(&json).contains("normalized"));
    let twice = json!([added(263, "Ab", false), added(264, "aB", false)]);
    let mut json = with("normalizer", json!({"type": "Lowercase"}));
    json["added_tokens"] = twice;
    json["added_tokens"][0]["normalized"] = true.into();
    json["added_tokens"][1]["normalized"] = true.into();
    assert!(refused(&json).contains("two of its added tokens"));
    // An error shows a part of what is wrong.
    assert!(refused(&with("decoder", json!({"type": "x".repeat(60_000)}))).len() < 500);
    assert!(refused(&vocab_unknown(&"y".repeat(60_000))).len() < 500);
}

fn vocab_unknown(token: &str) -> Value {
    let mut json = byte_level();
    json["model"]["unk_token"] = token.into();
    json
}

/// Texts of half a megabyte: the work is proportional to the text, whatever it consists of.
#[test]
fn long_texts_take_time_in_proportion() {
    let mut tokens = vec![added(263, "<mask>", true), added(264, " ", false), added(265, "\n", false)];
    for token in &mut tokens {
        token["lstrip"] = true.into();
        token["rstrip"] = true.into();
    }
    tokens.push(added(266, &"<".repeat(500), false));
    let spaced = ours(&with("added_tokens", tokens.into()));
    let plain = ours(&byte_level());
    let pieces = ours(&pieces());
    let time = |tokenizer: &Tokenizer, part: &str, bytes: usize| {
        let text = part.repeat(bytes / part.len());
        let start = Instant::now();
        tokenizer.encode(&text, true).unwrap();
        start.elapsed()
    };
    for tokenizer in [&spaced, &plain, &pieces] {
        for part in ["1", " ", "a", "日", "<|end|>", "<mask>", "<mask> ", "\n ", "<", "e\u{301}", "\u{301}"]
        {
            let (short, long) = (time(tokenizer, part, 50_000), time(tokenizer, part, 500_000));
            assert!(
                long < short * 60 + std::time::Duration::from_millis(200),
                "{part:?}: {short:?}, {long:?}"
            );
        }
    }
}

#[test]
fn words_have_a_limit() {
    let tokenizer = ours(&byte_level());
    for part in ["a", " ", "日", "!"] {
        let error = tokenizer.encode(&part.repeat(3 << 20), false).unwrap_err();
        assert!(
            matches!(&error, TokenizerError::Encode(why) if why.contains("1048576") || why.contains("tries")),
            "{error}"
        );
        assert!(tokenizer.encode(&part.repeat(200_000), false).is_ok());
    }
    // A word without a pre-tokenizer is the text, and is cut where nothing merges.
    let tokenizer = ours(&pieces());
    assert_eq!(tokenizer.encode(&"ab".repeat(1 << 20), false).unwrap().len(), 2 << 20);
}

#[test]
fn limits_hold_for_all_ways_to_tokenize() {
    let tokenizer = ours(&byte_level());
    let text = "hello 1 <|end|>é";
    let ids = tokenizer.encode(text, false).unwrap();
    let limit = EncodeLimit::default();
    for most in 0..=ids.len() + 1 {
        let limit = limit.tokens(most);
        let expected =
            if ids.len() > most { Err(TokenizerError::TooManyTokens { most }) } else { Ok(ids.clone()) };
        assert_eq!(tokenizer.encode_within(text, false, &limit), expected);
        assert_eq!(tokenizer.encode_with_untrusted(text, &[], &limit), expected);
    }
    assert!(tokenizer.encode_plain_within(text, &limit.tokens(ids.len())).is_err());
    let surrounded = ours(&pieces());
    assert_eq!(
        surrounded.encode_within("a", true, &limit.tokens(1)),
        Err(TokenizerError::TooManyTokens { most: 1 })
    );
    assert_eq!(surrounded.encode_within("a", true, &limit.tokens(2)).unwrap().len(), 2);
}

/// Nothing is split of a text that is too long by its bytes alone, and an interrupt is asked for often.
#[test]
fn limits_are_seen_early() {
    let tokenizer = ours(&byte_level());
    assert_eq!(tokenizer.longest_token(), 7);
    let asked = AtomicUsize::new(0);
    let count = || {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    let text = "1".repeat(1 << 20);
    let limit = EncodeLimit::default().interrupt(&count);
    assert_eq!(
        tokenizer.encode_within(&text, false, &limit.tokens(1000)),
        Err(TokenizerError::TooManyTokens { most: 1000 })
    );
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    for text in [&text[..200_000], &" 1".repeat(100_000), &"<|end|>".repeat(30_000), &"é".repeat(100_000)] {
        asked.store(0, Ordering::Relaxed);
        tokenizer.encode_within(text, false, &limit).unwrap();
        let before = asked.load(Ordering::Relaxed);
        assert!(before > 5, "{before}");
        // From the third time on, it is over.
        let calls = AtomicUsize::new(0);
        let over = || calls.fetch_add(1, Ordering::Relaxed) >= 2;
        let limit = EncodeLimit::default().interrupt(&over);
        assert_eq!(tokenizer.encode_within(text, false, &limit), Err(TokenizerError::Interrupted));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }
}

/// A bound on the bytes of a token, if there is one.
#[test]
fn tokens_that_swallow_text_have_no_longest() {
    let mut mask = added(263, "<mask>", true);
    assert_eq!(ours(&with("added_tokens", json!([mask]))).longest_token(), 6);
    mask["rstrip"] = true.into();
    assert_eq!(ours(&with("added_tokens", json!([mask]))).longest_token(), usize::MAX);
    for (part, value) in [
        ("pre_tokenizer", json!({"type": "WhitespaceSplit"})),
        ("normalizer", json!({"type": "StripAccents"})),
        ("normalizer", json!({"type": "Replace", "pattern": {"Regex": " +"}, "content": " "})),
        ("pre_tokenizer", Value::Null),
    ] {
        assert_eq!(ours(&with(part, value.clone())).longest_token(), usize::MAX, "{value}");
    }
    assert_eq!(ours(&with("normalizer", json!({"type": "NFC"}))).longest_token(), 7 * 4);
    assert_eq!(ours(&pieces()).longest_token(), 6);
}
