//! Tokenizers that mean harm are refused before anything runs, on every target and before a conversion. The limits
//! themselves are tested in the engine.

use crate::hub::{tiny_checkpoint, tiny_config};
use crate::program::{Place, names};
use edgellm::testing::{byte_tokenizer, recipes, seeded_model_with};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Tokenizer files that would take seconds, gigabytes or the stack, with words of the error that each is.
fn attacks() -> Vec<(Vec<u8>, &'static str)> {
    let with = |part: &str, value: Value| {
        let mut json: Value = serde_json::from_slice(&byte_tokenizer()).unwrap();
        json[part] = value;
        json.to_string().into_bytes()
    };
    let split = json!({"type": "Split", "behavior": "Isolated", "invert": false,
        "pattern": {"Regex": r"(?=(\d{3})+(?!\d))\d|."}});
    let grows = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(60)});
    let empty = json!({"type": "Replace", "pattern": {"String": ""}, "content": "a"});
    let special = json!({"SpecialToken": {"id": "a", "type_id": 0}});
    let template = json!({"type": "TemplateProcessing", "single": vec![special; 500],
        "special_tokens": {"a": {"ids": vec![1; 1000]}}});
    vec![
        (with("pre_tokenizer", split), "looks around"),
        (with("normalizer", json!({"type": "Sequence", "normalizers": vec![grows; 6]})), "times longer"),
        (with("normalizer", empty), "empty"),
        (with("post_processor", template), "the limit is 64"),
    ]
}

/// A server that opened the model would not end.
fn does_not_serve(place: &Place, options: &[&str], words: &str) {
    let outcome = place.run(&[&["serve", "--model", "m.tmac2.bin", "--port", "0"], options].concat());
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    let error = outcome.stderr.lines().last().unwrap_or_default();
    assert!(error.starts_with("error: ") && outcome.stderr.contains(words), "{outcome:#?}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome:#?}");
}

#[test]
fn model_files_with_hostile_tokenizers_do_not_open() {
    let place = Place::new();
    let component =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/plugin/edgellm-engine-simd.wasm");
    let component = component.to_string_lossy();
    for (tokenizer, words) in attacks() {
        let file = seeded_model_with(recipes()[0], 1, None, &tokenizer).unwrap();
        fs::write(place.path("m.tmac2.bin"), file).unwrap();
        place.run(&["generate", "--model", "m.tmac2.bin", "--prompt", "a"]).failed_with(&[words]);
        does_not_serve(&place, &[], words);
        if cfg!(feature = "plugin") && PathBuf::from(&*component).is_file() {
            does_not_serve(&place, &["--target", "plugin", "--plugin", &component], words);
        } else {
            println!("not tried with --target plugin: the feature or {component} is missing");
        }
    }
}

#[test]
fn folders_with_hostile_tokenizers_are_not_converted() {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    fs::write(place.path("model/config.json"), tiny_config()).unwrap();
    fs::write(place.path("model/model.safetensors"), tiny_checkpoint()).unwrap();
    for (tokenizer, words) in attacks() {
        fs::write(place.path("model/tokenizer.json"), tokenizer).unwrap();
        place
            .run(&["quantize", "--input", "model", "--output", "m.tmac2.bin", "--format", "int4"])
            .failed_with(&[words]);
        assert_eq!(place.names(), ["model"]);
        assert_eq!(names(&place.cache().join("files")), [""; 0]);
    }
}
