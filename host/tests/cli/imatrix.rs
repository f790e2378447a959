//! `edgellm quantize --imatrix`.

use crate::program::{Outcome, Place};
use serde_json::Value;
use std::fs;

/// A complete model of one layer in Q4_1, its embedding in Q4_0.
const GGUF: &[u8] = include_bytes!("../../../fuzz/seeds/gguf/llama");

/// A file of the binary format: names, and a value for each column.
fn legacy(entries: &[(&str, usize)]) -> Vec<u8> {
    let int = |value: usize| (value as i32).to_le_bytes();
    let mut file = int(entries.len()).to_vec();
    for &(name, columns) in entries {
        file.extend([&int(name.len())[..], name.as_bytes(), &int(2), &int(columns)].concat());
        file.extend((0..columns).flat_map(|column| (((column * 7 % 11) as f32).exp2()).to_le_bytes()));
    }
    file
}

fn place(imatrix: &[u8]) -> Place {
    let place = Place::new();
    fs::write(place.path("in.gguf"), GGUF).unwrap();
    fs::write(place.path("imatrix.dat"), imatrix).unwrap();
    place
}

fn quantize(place: &Place, format: &str, more: &[&str]) -> Outcome {
    let args = ["quantize", "--input", "in.gguf", "--format", format, "--output", "out.tmac2.bin"];
    place.run(&[&args[..], more].concat())
}

#[test]
fn the_report_says_how_each_tensor_was_rounded() {
    let place = place(&legacy(&[
        ("blk.0.attn_q.weight", 64),
        ("blk.0.ffn_down.weight", 96),
        ("blk.5.ffn_up.weight", 1),
    ]));
    let outcome = quantize(&place, "int3", &["--imatrix", "imatrix.dat", "--json"]).succeeded();
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let with = |method: &str| -> Vec<&str> {
        let tensors = report["tensors"].as_array().unwrap().iter();
        tensors
            .filter(|tensor| tensor["method"] == method)
            .map(|tensor| tensor["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(
        with("weighted"),
        ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight"]
    );
    assert_eq!(with("rtn").len(), 5);
    let ignored = "1 of 3 entries of the importance matrix were ignored";
    assert!(outcome.stderr.contains(ignored), "{}", outcome.stderr);
    let table = quantize(&place, "int3", &["--imatrix", "imatrix.dat"]).succeeded().stdout;
    assert!(
        table.contains("7 rounded anew, 2 of them by importance (weighted) and 5 without (rtn)"),
        "{table}"
    );
    // The engine runs it, and the file says how it was made.
    let info = place.run(&["info", "--model", "out.tmac2.bin"]).succeeded().stdout;
    assert!(info.contains("2 weighted by importance"), "{info}");
    let prompt = ["generate", "--model", "out.tmac2.bin", "--raw", "--prompt", "he", "-n", "2"];
    place.run(&prompt).succeeded();
}

#[test]
fn codes_that_are_kept_are_the_same_with_it() {
    let place = place(&legacy(&[("blk.0.attn_q.weight", 64)]));
    quantize(&place, "auto", &[]).succeeded();
    let plain = fs::read(place.path("out.tmac2.bin")).unwrap();
    let outcome = quantize(&place, "auto", &["--imatrix", "imatrix.dat"]).succeeded();
    assert!(
        outcome.stderr.contains("no effect on codes that are kept, those of 1 of its entries"),
        "{}",
        outcome.stderr
    );
    assert!(fs::read(place.path("out.tmac2.bin")).unwrap() == plain);
}

#[test]
fn what_is_no_importance_matrix_of_this_model_is_refused_in_one_line() {
    let good = legacy(&[("blk.0.attn_q.weight", 64)]);
    let mut damaged = good.clone();
    damaged.truncate(good.len() - 1);
    let mut negative = good.clone();
    let last = negative.len() - 1;
    negative[last] |= 0x80;
    let cases: [(&[u8], &[&str]); 7] = [
        (&damaged, &["imatrix.dat", "truncated"]),
        (&negative, &["imatrix.dat", "blk.0.attn_q.weight for column 63 is -"]),
        (GGUF, &["imatrix.dat", "without tensors named .in_sum2", "llama-imatrix"]),
        (b"<!doctype html><html>", &["imatrix.dat", "a web page", "llama-imatrix"]),
        (b"", &["imatrix.dat", "empty"]),
        (&legacy(&[("blk.0.attn_q.weight", 96)]), &["64 columns", "96 values for blk.0.attn_q.weight"]),
        (&legacy(&[("blk.8.attn_q.weight", 64)]), &["none of the 1 entries", "blk.8.attn_q.weight"]),
    ];
    for (imatrix, expected) in cases {
        let place = place(imatrix);
        quantize(&place, "int3", &["--imatrix", "imatrix.dat"]).failed_in_one_line(expected);
        assert_eq!(place.names(), ["imatrix.dat", "in.gguf"]);
    }
    let place = place(&good);
    quantize(&place, "int3", &["--imatrix", "none.dat"]).failed_in_one_line(&["none.dat"]);
    let args = ["quantize", "--input", "in.gguf", "--output", "imatrix.dat", "--imatrix", "imatrix.dat"];
    place.run(&args).failed_in_one_line(&["--imatrix and --output are the same file"]);
    assert!(fs::read(place.path("imatrix.dat")).unwrap() == good);
}
