//! What rounding cost: in the report, in the file, and as a limit.

use crate::program::{FOLDER, Outcome, Place, folder};
use serde_json::{Value, json};
use std::fs;

/// A place with the small model in `model`.
fn place() -> Place {
    let place = Place::new();
    folder(&place.path("model"));
    place
}

fn quantize(place: &Place, format: &str, more: &[&str]) -> Outcome {
    let args = ["quantize", "--input", "model", "--format", format, "--output", "out.tmac2.bin"];
    place.run(&[&args[..], more].concat())
}

fn json(outcome: Outcome) -> Value {
    serde_json::from_str(&outcome.succeeded().stdout).unwrap()
}

fn info(place: &Place) -> Value {
    json(place.run(&["info", "--model", "out.tmac2.bin", "--json"]))["quantization"]["quality"].clone()
}

#[test]
fn the_file_says_what_the_report_says() {
    let place = place();
    let report = json(quantize(&place, "int3", &["--json"]));
    let quality = &report["quality"];
    assert_eq!(*quality, info(&place));
    assert_eq!(quality["text"], "built in, held out");
    assert!(
        quality["perplexity"].as_f64().unwrap() > 1.0 && quality["kl_divergence"].as_f64().unwrap() > 0.0
    );
    assert_eq!(quality["tokens"].as_u64().unwrap() % 63, 0, "the second half of windows of 128: {quality}");
    let calibration = &quality["calibration"];
    assert_eq!((&calibration["method"], &calibration["data"]), (&json!("gptq"), &json!("built in")));
    assert_eq!((calibration["sha256"].as_str().unwrap().len(), &calibration["tokens"]), (64, &json!(65536)));
    let numbers =
        format!("perplexity {} before and {} after", quality["source_perplexity"], quality["perplexity"]);
    let table = quantize(&place, "int3", &[]).succeeded().stdout;
    assert!(table.contains(&numbers) && table.contains("measured on"), "{table}");
    let text = place.run(&["info", "--model", "out.tmac2.bin"]).succeeded().stdout;
    assert!(text.contains(&numbers) && text.contains("gptq: built in (65536 tokens, SHA-256"), "{text}");
    // Rounded by the weights alone, it is measured too.
    quantize(&place, "int3", &["--calibration", "none"]).succeeded();
    assert_eq!(info(&place)["calibration"], json!({"method": "none"}));
}

#[test]
fn nothing_is_measured_where_nothing_is_rounded_or_wanted() {
    let place = place();
    assert_eq!(json(quantize(&place, "int3", &["--skip-quality", "--json"]))["quality"], Value::Null);
    assert_eq!(info(&place), Value::Null);
    fs::write(place.path("in.gguf"), include_bytes!("../../../fuzz/seeds/gguf/llama")).unwrap();
    // A limit on what loses nothing holds.
    let lossless = ["quantize", "--input", "in.gguf", "--output", "out.tmac2.bin", "--max-loss", "0"];
    place.run(&lossless).succeeded();
    assert_eq!(info(&place), Value::Null);
    // A conversion that nobody asked for does not take longer for it.
    place.run(&["generate", "--model", "model", "--raw", "--prompt", "he", "-n", "1"]).succeeded();
    let cached = json(place.run(&["info", "--model", "model", "--json"]));
    assert_eq!(cached["quantization"].get("quality"), None, "{cached}");
    for more in [["--validate", "model/config.json"], ["--max-loss", "3%"]] {
        let outcome = quantize(&place, "int3", &[&["--skip-quality"], &more[..]].concat());
        assert!(outcome.code == Some(2) && outcome.stderr.contains("cannot be used with"), "{outcome:?}");
    }
}

#[test]
fn too_large_a_loss_leaves_nothing_behind() {
    let place = place();
    let [rose, limit] = ["the perplexity rose by", "--max-loss allows 0.01 %"];
    quantize(&place, "bitnet", &["--calibration", "none", "--max-loss", "0.01%"])
        .failed_in_one_line(&[rose, limit, "int8"]);
    assert_eq!(place.names(), ["model"]);
    // What was there stays.
    quantize(&place, "int8", &["--max-loss", "0.03"]).succeeded();
    let before = fs::read(place.path("out.tmac2.bin")).unwrap();
    quantize(&place, "bitnet", &["--calibration", "none", "--max-loss", "0.0001"])
        .failed_in_one_line(&[rose, limit]);
    assert!(fs::read(place.path("out.tmac2.bin")).unwrap() == before);
    for wrong in ["3", "x", "-1%", "NaN"] {
        let outcome = quantize(&place, "int2", &[&format!("--max-loss={wrong}")]);
        assert!(outcome.code == Some(2) && outcome.stderr.contains("--max-loss"), "{outcome:?}");
    }
}

#[test]
fn ones_own_text_is_measured_on() {
    let place = place();
    let text = "The sea is deep, and the ships are small. ".repeat(40);
    let lines = json!({"text": text}).to_string();
    for (name, bytes) in [("mine.txt", &text), ("mine.jsonl", &lines)] {
        fs::write(place.path(name), bytes).unwrap();
        let quality = json(quantize(&place, "int3", &["--validate", name, "--json"]))["quality"].clone();
        assert_eq!(quality["text"], name);
        assert_eq!(quality, info(&place));
    }
    let first = fs::read(place.path("out.tmac2.bin")).unwrap();
    quantize(&place, "int3", &["--validate", "mine.jsonl", "--threads", "3"]).succeeded();
    assert!(fs::read(place.path("out.tmac2.bin")).unwrap() == first);
    fs::remove_file(place.path("out.tmac2.bin")).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (b"few words", "at least 128 are needed"),
        (b"", "at least 128 are needed"),
        (b"caf\xe9", "byte 3 is not UTF-8"),
        (b"{\"a\": 1}", "line 1 has neither messages nor a text"),
    ];
    for (bytes, problem) in cases {
        fs::write(place.path("mine.txt"), bytes).unwrap();
        let outcome = quantize(&place, "int3", &["--validate", "mine.txt", "--calibration", "none"]);
        outcome.failed_in_one_line(&["mine.txt (--validate)", problem]);
        assert_eq!(place.names(), ["mine.jsonl", "mine.txt", "model"]);
    }
    quantize(&place, "int3", &["--validate", "none.txt"]).failed_in_one_line(&["none.txt"]);
    let args = ["quantize", "--input", "model", "--output", "mine.txt", "--validate", "mine.txt"];
    place.run(&args).failed_in_one_line(&["--validate and --output are the same file"]);
    for (name, bytes) in FOLDER {
        assert!(fs::read(place.path("model").join(name)).unwrap() == bytes, "{name}");
    }
}
