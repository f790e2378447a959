//! Files that are incomplete, named or stored in another way, or something else.

use super::{Source, tokenizer_json};
use crate::gguf::tests::Builder;
use crate::gguf::{GgmlType, Gguf, GgufError};
use crate::testing::{
    CONFIG_JSON, HIDDEN, VOCAB, metadata, metadata_without, random_floats, shard, tiny_gguf, tiny_tensors,
    with_tensors,
};
use crate::{Format, QuantizeError, QuantizeOptions, quantize};
use safetensors::{Dtype, tensor::TensorView};
use std::io::Cursor;
use std::ops::ControlFlow;

type Tensors = Vec<(String, Vec<usize>, Vec<u8>)>;

/// Reads a directory with these weights.
fn read(config: &str, weights: &[(&str, &[u8])]) -> Result<Vec<u8>, QuantizeError> {
    let tokenizer = tokenizer_json();
    let common: [(&str, &[u8]); 2] = [("config.json", config.as_bytes()), ("tokenizer.json", &tokenizer)];
    converted(&Source::from_files(&[&common[..], weights].concat())?)
}

/// The converted file.
fn converted(source: &Source<'_>) -> Result<Vec<u8>, QuantizeError> {
    let mut out = Cursor::new(Vec::new());
    quantize(source, &QuantizeOptions::new(Format::Int8), &mut out, &mut |_| ControlFlow::Continue(()))?;
    Ok(out.into_inner())
}

fn single(config: &str, tensors: &Tensors) -> Result<Vec<u8>, QuantizeError> {
    read(config, &[("model.safetensors", &shard(tensors, Dtype::BF16))])
}

/// The tensors with other names.
fn renamed(rename: impl Fn(&str) -> String) -> Tensors {
    tiny_tensors().into_iter().map(|(name, shape, bytes)| (rename(&name), shape, bytes)).collect()
}

/// A head that is not the embedding.
fn head() -> (String, Vec<usize>, Vec<u8>) {
    let values = random_floats(VOCAB * HIDDEN, 77);
    let bytes = values.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect();
    ("lm_head.weight".to_string(), vec![VOCAB, HIDDEN], bytes)
}

#[test]
fn names_without_model_or_with_more_before_it() {
    let usual = single(CONFIG_JSON, &tiny_tensors()).unwrap();
    for prefix in ["", "module.model.", "_orig_mod.model.", "language_model.model."] {
        let tensors = renamed(|name| name.replace("model.", prefix));
        assert!(single(CONFIG_JSON, &tensors).unwrap() == usual, "{prefix}");
    }
    let mut stray = renamed(|name| name.replace("model.", "language_model.model."));
    stray.push(("vision.weight".to_string(), vec![4], vec![0; 8]));
    let error = single(CONFIG_JSON, &stray).unwrap_err().to_string();
    assert!(error.contains("vision.weight"), "{error}");
}

#[test]
fn a_tied_head_may_be_stored_in_any_way() {
    let usual = single(CONFIG_JSON, &tiny_tensors()).unwrap();
    let as_head = |name: &str| name.replace("model.embed_tokens", "lm_head");
    assert!(single(CONFIG_JSON, &renamed(as_head)).unwrap() == usual, "under the name of the head");
    let mut twice = tiny_tensors();
    twice.push(("lm_head.weight".to_string(), twice[0].1.clone(), twice[0].2.clone()));
    let untied = CONFIG_JSON.replace(r#""tie_word_embeddings": true"#, r#""tie_word_embeddings": false"#);
    for config in [CONFIG_JSON, &untied] {
        assert!(single(config, &twice).unwrap() == usual, "twice");
        assert!(single(config, &tiny_tensors()).unwrap() == usual, "once");
    }
    // As save_model notes what it leaves out, whatever the configuration says.
    let tensors = renamed(as_head);
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.clone(), TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap())
    });
    let note = [("format", "pt"), ("model.embed_tokens.weight", "lm_head.weight")];
    let note = note.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let file = safetensors::serialize(views, Some(note)).unwrap();
    assert!(read(&untied, &[("model.safetensors", &file)]).unwrap() == usual, "with a note");
    let error = single(&untied, &renamed(as_head)).unwrap_err().to_string();
    assert!(error.contains("model.embed_tokens.weight"), "{error}");
}

#[test]
fn a_head_of_its_own_counts_more_than_the_configuration() {
    let mut tensors = tiny_tensors();
    tensors.push(head());
    let untied = CONFIG_JSON.replace(r#""tie_word_embeddings": true"#, r#""tie_word_embeddings": false"#);
    let own = single(&untied, &tensors).unwrap();
    assert!(own != single(CONFIG_JSON, &tiny_tensors()).unwrap());
    assert!(single(CONFIG_JSON, &tensors).unwrap() == own);
}

#[test]
fn shards_may_lack_their_index_but_none_of_them() {
    let (tensors, usual) = (tiny_tensors(), single(CONFIG_JSON, &tiny_tensors()).unwrap());
    let (first, second) = tensors.split_at(5);
    let (a, b) = (shard(first, Dtype::BF16), shard(second, Dtype::BF16));
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let both: [(&str, &[u8]); 2] = [(names[0], &a), (names[1], &b)];
    assert!(read(CONFIG_JSON, &both).unwrap() == usual);
    for missing in 0..2 {
        let error = read(CONFIG_JSON, &both[1 - missing..2 - missing]).unwrap_err().to_string();
        assert!(error.contains(names[missing]) && error.contains("download"), "{error}");
    }
    // A whole file counts more than an index that was left behind.
    let index = br#"{"weight_map": {"x": "gone.safetensors"}, "metadata": null}"#;
    let whole = shard(&tensors, Dtype::BF16);
    let files: [(&str, &[u8]); 2] = [("model.safetensors.index.json", index), ("model.safetensors", &whole)];
    assert!(read(CONFIG_JSON, &files).unwrap() == usual);
    let error = read(CONFIG_JSON, &files[..1]).unwrap_err().to_string();
    assert!(error.contains("gone.safetensors"), "{error}");
}

#[test]
fn pointers_pages_and_nothing_are_named() {
    let (tokenizer, weights) = (tokenizer_json(), shard(&tiny_tensors(), Dtype::BF16));
    let files: [(&str, &[u8]); 4] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("tokenizer_config.json", b"{}"),
        ("model.safetensors", &weights),
    ];
    for (bytes, found, remedy) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 99\n"[..], "LFS", "git lfs pull"),
        (b"<!doctype html><title>Sign in</title>", "web page", "download the file itself"),
        (b"", "empty", "download it again"),
        (&[0; 4096], "zeros", "download it again"),
    ] {
        for at in 0..files.len() {
            let mut changed = files;
            changed[at].1 = bytes;
            let error = Source::from_files(&changed).unwrap_err().to_string();
            for word in [files[at].0, found, remedy] {
                assert!(error.contains(word), "{word} is not in {error}");
            }
        }
    }
    // What conversion does not read may be anything.
    let more = [&files[..], &[("consolidated.safetensors", b""), ("onnx.json", b"")]].concat();
    assert!(Source::from_files(&more).is_ok());
}

#[test]
fn truncated_files_say_so() {
    let (tokenizer, weights) = (tokenizer_json(), shard(&tiny_tensors(), Dtype::BF16));
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG_JSON.as_bytes()),
        ("tokenizer.json", &tokenizer),
        ("model.safetensors", &weights),
    ];
    for (at, length) in [(0, 100), (1, 2000), (2, 100), (2, weights.len() - 1)] {
        let mut changed = files;
        changed[at].1 = &files[at].1[..length];
        let error = Source::from_files(&changed).unwrap_err();
        assert!(matches!(error, QuantizeError::Truncated { .. }), "{error}");
        let error = error.to_string();
        let at_byte = format!("at byte {length}");
        assert!(
            error.contains(files[at].0) && error.contains(&at_byte) && error.contains("again"),
            "{error}"
        );
    }
    let error = read(CONFIG_JSON, &[("model.safetensors", &weights[..weights.len() - 1])]).unwrap_err();
    assert!(error.to_string().contains(&format!("of {}", weights.len())), "{error}");
}

#[test]
fn a_tokenizer_that_the_engine_cannot_run_is_refused() {
    let tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer_json()).unwrap();
    let unigram = serde_json::json!({
        "type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]], "byte_fallback": false
    });
    let wordpiece = serde_json::json!({"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": {"a": 0}});
    let bert = serde_json::json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true});
    for (part, value, word) in [
        ("model", unigram, "Unigram"),
        ("model", wordpiece, "WordPiece"),
        ("normalizer", bert, "BertNormalizer"),
    ] {
        let mut other = tokenizer.clone();
        other["added_tokens"] = serde_json::json!([]);
        other["post_processor"] = serde_json::Value::Null;
        other[part] = value;
        let other = other.to_string();
        assert!(tokenizers::Tokenizer::from_bytes(&other).is_ok(), "{word} is no mistake");
        let files: [(&str, &[u8]); 1] = [("tokenizer.json", other.as_bytes())];
        let error = Source::from_files(&files).unwrap_err();
        assert!(matches!(error, QuantizeError::Tokenizer { .. }), "{error}");
        assert!(error.to_string().contains(word) && error.to_string().contains("another model"), "{error}");
    }
}

#[test]
fn an_empty_chat_template_is_none() {
    for template in ["", " \n"] {
        const KEY: &str = "tokenizer.chat_template";
        let keys = metadata_without("llama", &[KEY]).string(KEY, template);
        let file = with_tensors(keys, GgmlType::F32, GgmlType::F32).build();
        assert_eq!(Source::from_gguf(&file).unwrap().chat_template, None);
    }
    let (tokenizer, weights) = (tokenizer_json(), shard(&tiny_tensors(), Dtype::BF16));
    let of = |jinja: &[u8], config: &[u8]| {
        let files: [(&str, &[u8]); 5] = [
            ("config.json", CONFIG_JSON.as_bytes()),
            ("tokenizer.json", &tokenizer),
            ("model.safetensors", &weights),
            ("chat_template.jinja", jinja),
            ("tokenizer_config.json", config),
        ];
        Source::from_files(&files).unwrap().chat_template
    };
    assert_eq!(of(b"", br#"{"chat_template": "a"}"#).as_deref(), Some("a"));
    assert_eq!(of(b"\n", br#"{"chat_template": ""}"#), None);
    assert_eq!(of(b"{{ x }}", br#"{"chat_template": "a"}"#).as_deref(), Some("{{ x }}"));
}

/// The tiny model as two files.
fn halves() -> [Vec<u8>; 2] {
    let whole = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let gguf = Gguf::parse(&whole).unwrap();
    let add = |builder: Builder, tensors: std::ops::Range<usize>| {
        gguf.tensors()[tensors].iter().fold(builder, |builder, tensor| {
            let dims = [tensor.shape[1] as u64, tensor.shape[0] as u64];
            builder.tensor(tensor.name, &dims[..tensor.dimensions], tensor.ggml_type, tensor.data)
        })
    };
    let numbered = |builder: Builder, number| builder.u16("split.no", number).u16("split.count", 2);
    let all = gguf.tensors().len();
    [add(numbered(metadata("llama"), 0), 0..4).build(), add(numbered(Builder::default(), 1), 4..all).build()]
}

#[test]
fn a_split_gguf_file_is_one_model() {
    let whole = tiny_gguf(GgmlType::Q4_1, GgmlType::Q8_0);
    let usual = converted(&Source::from_gguf(&whole).unwrap()).unwrap();
    let [a, b] = halves();
    for parts in [[&a[..], &b], [&b, &a]] {
        assert!(converted(&Source::from_gguf_parts(&parts).unwrap()).unwrap() == usual);
    }
    for (part, missing) in [(&a, 2), (&b, 1)] {
        let error = Source::from_gguf(part).unwrap_err();
        assert!(
            matches!(error, QuantizeError::Gguf(GgufError::Part { part, count: 2 }) if part == missing),
            "{error}"
        );
        let error = error.to_string();
        assert!(error.contains("one directory") && error.contains("--merge"), "{error}");
    }
}

#[test]
fn gguf_files_of_other_things_are_named() {
    let adapter =
        Builder::default().string("general.type", "adapter").string("general.architecture", "llama");
    let error = Source::from_gguf(&adapter.build()).unwrap_err().to_string();
    assert!(error.contains("general.type") && error.contains("adapter"), "{error}");
    let empty = Builder::default().string("general.architecture", "llama").build();
    let error = Source::from_gguf(&empty).unwrap_err().to_string();
    assert!(error.contains("tokenizer.ggml.tokens") && error.contains("another file"), "{error}");
}
