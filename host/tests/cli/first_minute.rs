//! What a newcomer types: commands without a model, models without an option, a list that says what to expect.

use crate::program::Place;
use edgellm::testing::{recipes, seeded_chat_model};
use serde_json::Value;
use std::fs;

const TEMPLATE: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

fn write_model(place: &Place, name: &str, seed: u64) {
    fs::write(place.path(name), seeded_chat_model(recipes()[0], seed, Some(TEMPLATE)).unwrap()).unwrap();
}

#[test]
fn the_program_alone_says_how_to_begin() {
    let place = Place::new();
    let text = place.run(&[]).succeeded().stdout;
    for command in ["edgellm chat", "edgellm generate", "edgellm serve"] {
        assert!(text.contains(command), "{text}");
    }
    // What the first use downloads, and under which licence.
    assert!(text.contains("smollm2-135m-instruct (92.9 MB, Apache-2.0)"), "{text}");
    assert!(!place.cache().exists(), "nothing is created");
}

#[test]
fn a_model_is_a_plain_argument_and_the_last_one_is_remembered() {
    let place = Place::new();
    write_model(&place, "a.tmac2.bin", 5);
    write_model(&place, "b.tmac2.bin", 6);
    let generate =
        |words: &[&str]| place.run(&[&["generate", "-n", "8", "--seed", "3"], words].concat()).succeeded();
    let option = generate(&["--model", "a.tmac2.bin", "--prompt", "hi"]).stdout;
    let other = generate(&["--model", "b.tmac2.bin", "--prompt", "hi"]);
    assert!(!other.stderr.contains("model:"), "{}", other.stderr);
    assert_ne!(option, other.stdout);
    // The last one, with a note that says so.
    let last = generate(&["hi"]);
    assert_eq!(last.stdout, other.stdout);
    assert!(last.stderr.contains("b.tmac2.bin, the one used last"), "{}", last.stderr);
    assert_eq!(generate(&["a.tmac2.bin", "hi"]).stdout, option);
    assert_eq!(generate(&["hi"]).stdout, option);
    // `info` looks at a model, and does not use it.
    place.run(&["info", "b.tmac2.bin"]).succeeded();
    assert_eq!(generate(&["hi"]).stdout, option);
    // A chat without questions opens it, too.
    place.run(&["chat", "b.tmac2.bin"]).succeeded();
    assert_eq!(generate(&["hi"]).stdout, other.stdout);
    // A model that is gone is not the last one.
    fs::remove_file(place.path("b.tmac2.bin")).unwrap();
    let default =
        place.command(&["info"]).env("PATH", "").env("PIP_INDEX_URL", "http://127.0.0.1:1").output().unwrap();
    let message = String::from_utf8(default.stderr).unwrap();
    assert!(message.contains("model: smollm2-135m-instruct (92.9 MB, Apache-2.0)"), "{message}");
}

#[test]
fn mistaken_words_are_explained() {
    let place = Place::new();
    for (words, messages) in [
        (&["generate"][..], &["no prompt"][..]),
        (&["generate", "Why", "is", "it"], &["quotes"]),
        (&["generate", "smollm2-135m-instruct"], &["is a model", "no prompt"]),
        (&["generate", "smollm2-135m-instrct", "hi"], &["smollm2-135m-instruct"]),
        (&["chat", "smollm2-135m-instrct"], &["smollm2-135m-instruct"]),
    ] {
        place.run(words).failed_with(messages);
    }
    let both = place.run(&["chat", "a.tmac2.bin", "--model", "b.tmac2.bin"]);
    assert!(both.code == Some(2) && both.stderr.contains("cannot be used with"), "{both:#?}");
}

#[test]
fn the_list_says_what_to_expect_and_measures_once() {
    let place = Place::new();
    let first = place.run(&["list", "--json"]).succeeded();
    assert!(first.stderr.contains("measuring for 2 seconds"), "{}", first.stderr);
    let rows: Vec<Value> = serde_json::from_str(&first.stdout).unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    let rate = |name: &str| row(name)["expected_tokens_per_second"].as_f64().unwrap();
    assert_eq!(row("smollm2-135m-instruct")["fits_memory"], true);
    let (small, large) = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct");
    let bytes = |name: &str| row(name)["bytes"].as_f64().unwrap();
    assert!((rate(small) * bytes(small) / (rate(large) * bytes(large)) - 1.0).abs() < 1e-9);
    let second = place.run(&["models"]).succeeded();
    assert!(!second.stderr.contains("measuring"), "{}", second.stderr);
    assert!(second.stdout.contains("* expected"), "{}", second.stdout);
    // A cache that was made on another machine is measured anew, and so is a damaged one.
    for text in ["{\"of\": \"another\", \"bytes_per_second\": 1}", "{"] {
        fs::write(place.cache().join("speed.json"), text).unwrap();
        assert!(place.run(&["list"]).succeeded().stderr.contains("measuring"));
    }
}
