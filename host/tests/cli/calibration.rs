//! `edgellm quantize --calibration`.

use crate::program::{Outcome, Place};
use serde_json::Value;
use std::fs;

/// A complete model of one layer in Q4_1, its embedding in Q4_0.
const GGUF: &[u8] = include_bytes!("../../../fuzz/seeds/gguf/llama");

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("in.gguf"), GGUF).unwrap();
    place
}

fn quantize(place: &Place, format: &str, more: &[&str]) -> Outcome {
    let args = ["quantize", "--input", "in.gguf", "--format", format, "--output", "out.tmac2.bin"];
    place.run(&[&args[..], more].concat())
}

/// The methods of the layer's seven matrices.
fn methods(outcome: &Outcome) -> Vec<String> {
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let tensors = report["tensors"].as_array().unwrap().iter();
    let layers = tensors.filter(|tensor| tensor["name"].as_str().unwrap().contains("_proj.weight"));
    layers.map(|tensor| tensor["method"].as_str().unwrap().to_string()).collect()
}

#[test]
fn what_is_rounded_is_calibrated_unless_told_otherwise() {
    let place = place();
    for (more, method) in [
        (&[][..], "gptq"),
        (&["--calibration", "gptq"], "gptq"),
        (&["--calibration", "weights"], "weighted"),
        (&["--calibration", "none"], "rtn"),
    ] {
        let outcome = quantize(&place, "int3", &[more, &["--json"]].concat()).succeeded();
        assert_eq!(methods(&outcome), [method; 7], "{more:?}");
        // Said beforehand.
        let announced = outcome.stderr.contains("calibrating on up to 65536 tokens of text (built in)");
        assert_eq!(announced, method != "rtn", "{}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("of memory"), announced);
    }
    // Nothing to round, nothing to calibrate.
    let kept = quantize(&place, "auto", &["--json"]).succeeded();
    assert_eq!(methods(&kept), ["lossless"; 7]);
    assert!(!kept.stderr.contains("calibrating"), "{}", kept.stderr);
}

#[test]
fn ones_own_text_counts() {
    let place = place();
    let file = |more: &[&str]| {
        quantize(&place, "int3", more).succeeded();
        fs::read(place.path("out.tmac2.bin")).unwrap()
    };
    let built_in = file(&[]);
    fs::write(place.path("mine.txt"), "The rain in Spain falls mainly on the plain. ".repeat(40)).unwrap();
    let mine = file(&["--calibration-data", "mine.txt"]);
    assert_ne!(built_in, mine);
    assert_eq!(mine, file(&["--calibration-data", "mine.txt", "--threads", "1"]));
    let chat =
        r#"{"messages": [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "def"}]}"#;
    fs::write(place.path("chats.jsonl"), format!("{chat}\n").repeat(100)).unwrap();
    assert_ne!(mine, file(&["--calibration-data", "chats.jsonl"]));
    assert_ne!(built_in, file(&["--calibration-tokens", "512"]));
}

#[test]
fn calibration_that_would_change_nothing_is_refused() {
    let place = place();
    fs::write(place.path("mine.txt"), "The rain in Spain falls mainly on the plain. ".repeat(40)).unwrap();
    for format in ["auto", "int4", "int8"] {
        for option in
            [["--calibration-data", "mine.txt"], ["--calibration-tokens", "1000"], ["--calibration", "gptq"]]
        {
            quantize(&place, format, &option).failed_in_one_line(&[option[0], "no effect", "--format"]);
        }
        assert!(!place.path("out.tmac2.bin").exists());
        quantize(&place, format, &["--calibration", "none"]).succeeded();
        fs::remove_file(place.path("out.tmac2.bin")).unwrap();
    }
}

#[test]
fn what_cannot_be_calibrated_on_is_refused_in_one_line() {
    let place = place();
    fs::write(place.path("short.txt"), "too short").unwrap();
    fs::write(place.path("latin.txt"), b"caf\xe9").unwrap();
    fs::write(place.path("bad.jsonl"), "{\"text\": \"a\"}\n{\"prompt\": 1}\n").unwrap();
    let data = |name| ["--calibration-data", name];
    for (more, expected) in [
        (&data("short.txt")[..], &["short.txt", "9 tokens", "at least", "longer"][..]),
        (&data("latin.txt"), &["latin.txt", "byte 3", "UTF-8"]),
        (&data("bad.jsonl"), &["bad.jsonl", "line 2", "messages"]),
        (&data("none.txt"), &["none.txt"]),
        (&["--calibration-data", "short.txt", "--calibration", "none"], &["--calibration-data", "no effect"]),
        (&["--calibration-tokens", "1000", "--calibration", "none"], &["--calibration-tokens", "no effect"]),
        (&["--calibration-data", "in.gguf"], &["in.gguf", "UTF-8"]),
    ] {
        // What calibration takes is said before.
        let outcome = quantize(&place, "int3", more).failed_with(expected);
        assert_eq!(outcome.stderr.matches("error:").count(), 1);
        assert!(!place.path("out.tmac2.bin").exists(), "{more:?} left a file");
    }
    let few = quantize(&place, "int3", &["--calibration-tokens", "100"]);
    assert!(few.code == Some(2) && few.stderr.contains("512"), "{few:#?}");
    fs::write(place.path("matrix.dat"), b"").unwrap();
    let both = ["--imatrix", "matrix.dat", "--calibration", "gptq"];
    quantize(&place, "int3", &both).failed_in_one_line(&["--imatrix", "--calibration gptq"]);
}
