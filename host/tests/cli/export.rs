//! `edgellm export`: a Hugging Face directory, whole or not at all.

use crate::program::{FOLDER, Outcome, Place, folder, names};
use edgellm::testing::{recipes, seeded_model};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A complete model of one layer.
const GGUF: &[u8] = include_bytes!("../../../fuzz/seeds/gguf/llama");
const FILES: [&str; 5] =
    ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

fn export(place: &Place, model: &str, output: &str, more: &[&str]) -> Outcome {
    place.run(&[&["export", "--model", model, "--output", output], more].concat())
}

fn tokens(place: &Place, model: &str) -> Value {
    let args = ["generate", "--model", model, "--format", "int8", "--raw", "--prompt", "he", "-n", "8"];
    let outcome = place.run(&[&args[..], &["--temperature", "0", "--json"]].concat()).succeeded();
    serde_json::from_str::<Value>(&outcome.stdout).unwrap()["token_ids"].clone()
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn every_kind_of_model_is_exported() {
    let place = Place::new();
    folder(&place.path("model"));
    fs::write(place.path("model.gguf"), GGUF).unwrap();
    for (model, dtype, class) in
        [("model", "bf16", "Qwen2ForCausalLM"), ("model.gguf", "f32", "LlamaForCausalLM")]
    {
        let output = format!("{model}-hf");
        let outcome = export(&place, model, &output, &["--dtype", dtype]).succeeded();
        assert!(outcome.stdout.starts_with(&format!("{output}: ")), "{outcome:#?}");
        let mut found = names(&place.path(&output));
        found.retain(|name| name != "chat_template.jinja");
        assert_eq!(found, FILES);
        assert_eq!(config(&place.path(&output))["architectures"][0], class);
        assert_eq!(tokens(&place, &output), tokens(&place, model), "{model}");
    }
    // From a file of codes, too: those of the directory, which are dequantized.
    place
        .run(&["quantize", "--input", "model.gguf", "--output", "model.tmac2.bin", "--skip-quality"])
        .succeeded();
    export(&place, "model.tmac2.bin", "from-file", &["--dtype", "f32"]).succeeded();
    let weights = |output: &str| fs::read(place.path(output).join("model.safetensors")).unwrap();
    assert!(weights("from-file") == weights("model.gguf-hf"));
    // The default, into an empty directory.
    fs::create_dir(place.path("empty")).unwrap();
    export(&place, "model.gguf", "empty", &[]).succeeded();
    assert_eq!(config(&place.path("empty"))["dtype"], "float16");
    assert!(place.names().iter().all(|name| !name.starts_with('.')), "{:?}", place.names());
}

#[test]
fn what_is_there_stays() {
    let place = Place::new();
    fs::write(place.path("model.gguf"), GGUF).unwrap();
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full").join("mine"), "text").unwrap();
    export(&place, "model.gguf", "full", &[]).failed_with(&["full is not empty", "new directory"]);
    assert_eq!(names(&place.path("full")), ["mine"]);
    fs::write(place.path("file"), "text").unwrap();
    export(&place, "model.gguf", "file", &[])
        .failed_with(&["file is not a directory", "name of a directory"]);
    assert_eq!(fs::read(place.path("file")).unwrap(), b"text");
    export(&place, "model.gguf", "..", &[]).failed_with(&["not the name of a directory"]);
    export(&place, "model.gguf", "no/parent", &[]).failed_with(&["cannot create a directory in no"]);
    assert_eq!(place.names(), ["file", "full", "model.gguf"]);
}

/// Before a model is looked for.
#[test]
fn outputs_are_checked_first() {
    let place = Place::new();
    fs::write(place.path("file"), "text").unwrap();
    export(&place, "smollm2-135m-instruct", "file", &[]).failed_with(&["file is not a directory"]);
    assert_eq!(names(&place.cache()), [""; 0]);
}

#[test]
fn models_that_cannot_be_exported() {
    let place = Place::new();
    export(&place, "smollm3-135m", "out", &[]).failed_with(&["there is no model", "edgellm list"]);
    export(&place, "no/model.gguf", "out", &[]).failed_with(&["there is no file no/model.gguf"]);
    fs::write(place.path("text.gguf"), "text").unwrap();
    export(&place, "text.gguf", "out", &[]).failed_with(&["not a .tmac2.bin file"]);
    let bitnet = recipes().into_iter().map(|recipe| seeded_model(recipe, 1).unwrap());
    let mut refused = 0;
    for model in bitnet {
        fs::write(place.path("model.tmac2.bin"), model).unwrap();
        let outcome = export(&place, "model.tmac2.bin", "out", &[]);
        if outcome.code == Some(0) {
            fs::remove_dir_all(place.path("out")).unwrap();
        } else {
            outcome.failed_with(&["export", "Hugging Face checkpoint"]);
            refused += 1;
        }
    }
    assert!(refused > 0);
    let outcome = export(&place, "text.gguf", "out", &["--dtype", "int8"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("possible values: f16, bf16, f32"), "{outcome:#?}");
    assert_eq!(place.names(), ["model.tmac2.bin", "text.gguf"]);
}

/// [`FOLDER`]'s file of weights with a weight of 65536.
fn with_large_weight() -> Vec<u8> {
    let mut weights = FOLDER[2].1.to_vec();
    let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + length]).unwrap();
    let offsets = &header["model.layers.0.mlp.down_proj.weight"]["data_offsets"];
    let place = 8 + length + offsets[0].as_u64().unwrap() as usize;
    weights[place..place + 2].copy_from_slice(&0x4780_u16.to_le_bytes());
    weights
}

#[test]
fn weights_beyond_half_precision() {
    let place = Place::new();
    folder(&place.path("model"));
    fs::write(place.path("model").join("model.safetensors"), with_large_weight()).unwrap();
    let words =
        ["model.layers.0.mlp.down_proj.weight, row 0", "65536", "float16", "--dtype f32", "--dtype bf16"];
    export(&place, "model", "out", &[]).failed_with(&words);
    assert_eq!(place.names(), ["model"]);
    export(&place, "model", "out", &["--dtype", "bf16"]).succeeded();
}
