//! `edgellm quantize --target-size`, `--target-bits`, `--dry-run` and `--plot`.

use crate::program::{Outcome, Place, folder};
use serde_json::Value;
use std::fs;

const OUTPUT: &str = "out.tmac2.bin";

/// The small model of the tests, of floats.
fn place() -> Place {
    let place = Place::new();
    folder(&place.path("in"));
    place
}

fn quantize(place: &Place, more: &[&str]) -> Outcome {
    place.run(&[&["quantize", "--input", "in"], more].concat())
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// What the curve says; nothing is converted for it.
fn curve(place: &Place, more: &[&str]) -> Value {
    let value = json(&quantize(place, &[&["--dry-run", "--json"], more].concat()).succeeded());
    assert!(!place.names().iter().any(|name| name.ends_with(".bin")), "{:?}", place.names());
    value
}

#[test]
fn files_are_as_large_as_allowed_and_no_larger() {
    let place = place();
    let sizes = curve(&place, &[]);
    let [smallest, largest] = ["smallest", "largest"].map(|name| sizes[name].as_u64().unwrap());
    let weights = sizes["weights"].as_u64().unwrap();
    let middle = (smallest + largest) / 2;
    let bits = (middle * 8) as f64 / weights as f64;
    let kib = middle / 1024;
    for (target, limit, more) in [
        (["--target-size".to_string(), smallest.to_string()], smallest, &[][..]),
        (["--target-size".to_string(), middle.to_string()], middle, &["--calibration", "weights"]),
        (["--target-size".to_string(), format!("{kib}KiB")], 1024 * kib, &["--calibration", "none"]),
        (["--target-bits".to_string(), bits.to_string()], middle + 1, &[]),
        (["--target-size".to_string(), largest.to_string()], largest, &[]),
    ] {
        let args =
            [&["--output", OUTPUT, "--json"], &target.each_ref().map(String::as_str)[..], more].concat();
        let outcome = quantize(&place, &args).succeeded();
        assert!(outcome.stderr.contains("measuring what each matrix loses"), "{}", outcome.stderr);
        let report = json(&outcome);
        let bytes = fs::metadata(place.path(OUTPUT)).unwrap().len();
        assert_eq!(report["bytes"], bytes);
        // The smallest step between two files is that of a matrix of 32 rows.
        assert!(bytes <= limit && bytes + 8192 > limit, "{target:?}: {bytes} of {limit}");
        assert!(report["allocation"]["expected_kl"].as_f64().unwrap() > 0.0);
        let info = place.run(&["info", "--model", OUTPUT]).succeeded();
        assert!(
            info.stdout.contains("mixed") && info.stdout.contains("by measured sensitivity"),
            "{}",
            info.stdout
        );
        let text = place.run(&["generate", "--model", OUTPUT, "--prompt", "a", "--max-tokens", "4"]);
        text.succeeded();
    }
    // The report in words says it too.
    let args = ["--output", OUTPUT, "--target-size", &middle.to_string()];
    let outcome = quantize(&place, &args).succeeded();
    assert!(
        outcome.stdout.contains("\nwidths: ") && outcome.stdout.contains("expected KL"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn the_file_does_not_depend_on_threads_but_on_the_text() {
    let place = place();
    fs::write(place.path("mine.txt"), "The rain in Spain falls mainly on the plain. ".repeat(40)).unwrap();
    let file = |more: &[&str]| {
        quantize(&place, &[&["--output", OUTPUT, "--target-bits", "9"], more].concat()).succeeded();
        fs::read(place.path(OUTPUT)).unwrap()
    };
    let first = file(&["--threads", "1"]);
    assert_eq!(first, file(&["--threads", "3"]));
    assert_ne!(first, file(&["--calibration-data", "mine.txt"]));
    fs::remove_file(place.path(OUTPUT)).unwrap();
    let measured = |more: &[&str]| curve(&place, more)["kl_at_int3"].clone();
    assert_eq!(
        measured(&["--calibration-tokens", "512"]),
        measured(&["--calibration-tokens", "512", "--threads", "1"])
    );
    assert_ne!(
        measured(&[]),
        measured(&["--calibration-data", "mine.txt"]),
        "it is measured on that text too"
    );
}

#[test]
fn targets_out_of_range_are_refused_before_anything_is_measured() {
    let place = place();
    for (target, value, words) in [
        ("--target-size", "1000", ["too small", "1.0 kB", "int2 everywhere takes", "bits a weight"]),
        ("--target-size", "1GB", ["too large", "1.00 GB", "int8 everywhere takes", "--format int8"]),
        ("--target-bits", "1", ["too small", "1.000 bits", "int2 everywhere takes", "bits a weight"]),
        ("--target-bits", "40.5", ["too large", "40.5", "int8 everywhere takes", "bits a weight"]),
    ] {
        for more in [&["--output", OUTPUT][..], &["--dry-run"]] {
            let outcome = quantize(&place, &[&[target, value], more].concat());
            outcome.failed_in_one_line(&[&[target], &words[..]].concat());
        }
    }
    assert_eq!(place.names(), ["in"]);
}

#[test]
fn options_that_contradict_a_target_are_refused_by_name() {
    let place = place();
    let refused = |args: &[&str], words: &[&str]| {
        let outcome = quantize(&place, args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:#?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{args:?}: {word} is not in {}", outcome.stderr);
        }
    };
    let output = ["--output", OUTPUT];
    for target in [["--target-size", "60MB"], ["--target-bits", "3.2"]] {
        for other in [
            ["--format", "int4"],
            ["--head", "int8"],
            ["--group-size", "64"],
            ["--scales", "six"],
            ["--format", "auto"],
        ] {
            refused(&[&output[..], &target, &other].concat(), &[target[0], other[0], "cannot be used with"]);
        }
    }
    let both = [&output[..], &["--target-size", "60MB", "--target-bits", "3.2"]].concat();
    refused(&both, &["--target-size", "--target-bits"]);
    refused(&["--target-size", "60 pounds", "--output", OUTPUT], &["--target-size", "60MB"]);
    refused(&["--target-bits", "none", "--output", OUTPUT], &["--target-bits", "above 0"]);
    refused(&["--target-size", "60MB"], &["--output"]);
    refused(&["--plot", "curve.svg", "--output", OUTPUT], &["--dry-run"]);
    refused(&["--plot", "curve.svg", "--dry-run", "--format", "int4"], &["--plot", "--format"]);
}

#[test]
fn a_dry_run_shows_ten_sizes() {
    let place = place();
    let value = curve(&place, &[]);
    let points = value["curve"].as_array().unwrap();
    assert_eq!(points.len(), 10);
    assert_eq!(value["target"], Value::Null);
    let number = |point: &Value, field: &str| point[field].as_f64().unwrap();
    for pair in points.windows(2) {
        assert!(number(&pair[0], "bytes") < number(&pair[1], "bytes"));
        assert!(number(&pair[0], "expected_kl") > number(&pair[1], "expected_kl"));
    }
    let counts = |index: usize, format: &str| points[index]["counts"][format].as_u64().unwrap();
    assert_eq!((counts(0, "int2"), counts(9, "int8")), (8, 8), "seven matrices and the tied head");
    assert_eq!(
        (points[0]["limit"].as_u64(), points[9]["limit"].as_u64()),
        (value["smallest"].as_u64(), value["largest"].as_u64())
    );
    assert_eq!(value["kl_at_int3"].as_object().unwrap().len(), 8);

    let limit = points[4]["limit"].as_u64().unwrap().to_string();
    let with_target = curve(&place, &["--target-size", &limit]);
    let fits: Vec<bool> = with_target["curve"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["fits"].as_bool().unwrap())
        .collect();
    assert_eq!(fits, [true, true, true, true, true, false, false, false, false, false]);
    assert_eq!(with_target["target"]["bytes"], points[4]["bytes"]);
    assert_eq!(with_target["target"]["widths"].as_object().unwrap().len(), 8);

    let table = quantize(&place, &["--dry-run", "--target-size", &limit]).succeeded().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("bits/weight") && lines[0].contains("int5"), "{table}");
    let marked: Vec<usize> = (1..=10).filter(|&line| lines[line].starts_with('*')).collect();
    assert_eq!(marked, [5], "{table}");
    assert!(table.contains("Nothing was converted"));
}

#[test]
fn a_dry_run_of_one_format_says_its_size() {
    let place = place();
    for more in [&["--format", "int3"][..], &["--format", "int4", "--group-size", "64", "--head", "int4"]] {
        let value = curve(&place, more);
        quantize(&place, &[more, &["--output", OUTPUT]].concat()).succeeded();
        let bytes = fs::metadata(place.path(OUTPUT)).unwrap().len();
        let expected = value["bytes"].as_u64().unwrap();
        assert!((bytes..bytes + 4096).contains(&expected), "{expected} for {bytes}");
        fs::remove_file(place.path(OUTPUT)).unwrap();
        let outcome = quantize(&place, &[more, &["--dry-run"]].concat()).succeeded();
        assert!(outcome.stdout.starts_with(more[1]) && outcome.stderr.is_empty(), "{outcome:#?}");
    }
}

/// Elements are closed in the order in which they were opened; returns how often each occurs.
fn elements(xml: &str) -> std::collections::BTreeMap<String, usize> {
    let (mut open, mut counts) = (Vec::new(), std::collections::BTreeMap::new());
    let mut rest = xml;
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains('>'), "{text}");
        for reference in text.split('&').skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;"];
            assert!(known.iter().any(|known| reference.starts_with(known)), "&{reference}");
        }
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/']).next().unwrap().to_string();
        *counts.entry(name.clone()).or_default() += 1;
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!((open.len(), rest.trim()), (0, ""));
    counts
}

#[test]
fn the_plot_is_well_formed_and_has_every_point() {
    let place = place();
    // A name that would end an element.
    let renamed = place.path("a<b & \"c\">");
    fs::rename(place.path("in"), &renamed).unwrap();
    let run = |more: &[&str]| {
        let args = ["quantize", "--input", renamed.to_str().unwrap(), "--dry-run", "--plot", "curve.svg"];
        place.run(&[&args[..], more].concat()).succeeded();
        fs::read_to_string(place.path("curve.svg")).unwrap()
    };
    let svg = run(&[]);
    let found = elements(&svg);
    assert_eq!((found["svg"], found["circle"], found["polyline"]), (1, 10, 1));
    assert!(svg.contains("nats a token") && svg.contains("size of the file, kB"), "{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let with_target = run(&["--target-bits", "9"]);
    assert_eq!(elements(&with_target)["circle"], 11);
    assert!(with_target.contains(">target "), "{with_target}");
}
