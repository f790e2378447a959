//! Converted files in the cache follow their sources.

use crate::hub::{tiny_checkpoint, tiny_config};
use crate::program::{Outcome, Place, names};
use edgellm::testing::byte_tokenizer;
use std::fs::{self, File};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Writes a Hugging Face directory whose weights are those of the checkpoint with its embedding rotated by `rows`. Every
/// version has the same lengths and times.
fn write(folder: &Path, rows: usize, names: [&str; 3]) {
    let mut weights = tiny_checkpoint();
    let header = 8 + usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    weights[header..][..257 * 64 * 4].rotate_left(rows * 64 * 4);
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in names.into_iter().zip([tiny_config().into_bytes(), byte_tokenizer(), weights]) {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    }
}

const NAMES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

fn generate(place: &Place, model: &str, format: &str) -> Outcome {
    let options = ["--format", format, "--prompt", "abc", "-n", "8", "--temperature", "0", "--json"];
    place.run(&[&["generate", "--model", model], &options[..]].concat()).succeeded()
}

fn ids(outcome: &Outcome) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap()["token_ids"].clone()
}

#[test]
fn a_source_of_the_same_length_and_time_is_converted_again() {
    let place = Place::new();
    let (model, files) = (place.path("model"), place.cache().join("files"));
    let generate = |format: &str| generate(&place, "model", format);
    write(&model, 0, NAMES);
    let (first, _) = (generate("int4"), generate("int8"));
    let made = names(&files);
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(generate("int4").stderr, "", "nothing has changed");

    // Another file in its place.
    write(&model, 100, ["config.json", "tokenizer.json", "new"]);
    fs::rename(model.join("new"), model.join("model.safetensors")).unwrap();
    let second = generate("int4");
    assert!(second.stderr.contains("converting"), "{second:#?}");
    assert_ne!(ids(&second), ids(&first));
    let now = names(&files);
    assert_eq!(now.len(), 1, "what is replaced is gone, in every format: {now:?}");
    assert!(!made.contains(&now[0]), "{now:?}");

    // Other bytes in the same file.
    write(&model, 0, NAMES);
    assert_eq!(ids(&generate("int4")), ids(&first));
    assert_eq!(names(&files).len(), 1);
}

#[test]
fn another_source_of_the_same_name_keeps_its_conversion() {
    let place = Place::new();
    for (rows, model) in [(0, "model"), (100, "elsewhere/model"), (0, "model")] {
        write(&place.path(model), rows, NAMES);
        generate(&place, model, "int4");
    }
    let made = names(&place.cache().join("files"));
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|name| name.starts_with("model-") && name.ends_with("-int4.tmac2.bin")));
}
