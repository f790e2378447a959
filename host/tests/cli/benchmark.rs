//! `edgellm benchmark` on a small seeded model: the report, the check of answers, the comparison, Ctrl-C.
#![cfg(unix)]

use crate::program::{Outcome, Place};
use edgellm::testing::{recipes, seeded_model};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("model.tmac2.bin"), seeded_model(recipes()[0], 7).unwrap()).unwrap();
    place
}

/// Measures for a second or two, into the folder `output`.
fn benchmark(place: &Place, output: &str, more: &[&str]) -> Outcome {
    let common = ["benchmark", "--model", "model.tmac2.bin", "--prompt-lengths", "8,40", "--generate", "12"];
    let short = ["--iterations", "40", "--warmup", "3", "--cold-starts", "2", "--output", output];
    place.run(&[&common[..], &short, more].concat())
}

fn report(place: &Place, output: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(output).join("report.json")).unwrap()).unwrap()
}

/// A target called native that a saboteur stands before.
fn sabotaged(how: &str) -> String {
    let saboteur = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/benchmark/saboteur.py");
    let worker = env!("CARGO_BIN_EXE_edgellm");
    format!(
        "native=python3 {} {how} {worker} benchmark-worker --model {{model}} --context {{context}} --threads {{threads}}",
        saboteur.display()
    )
}

#[test]
fn a_report_holds_what_was_measured() {
    let place = place();
    let outcome = benchmark(
        &place,
        "out",
        &["--targets", "native", "--threads", "1,2", "--peers", "llama.cpp,nobody=/no/such/program"],
    )
    .succeeded();
    for absent in ["llama.cpp: no GGUF file", "nobody: cannot start /no/such/program"] {
        assert!(outcome.stderr.contains(absent), "{outcome:#?}");
    }
    let report = report(&place, "out");
    assert_eq!(report["schema"], "edgellm-benchmark/1");
    assert_eq!(report["absent"].as_array().unwrap().len(), 2);
    assert_eq!(report["interrupted"], false);
    assert!(report["machine"]["bandwidth"][0]["gigabytes_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(report["model"]["sha256"].as_str().unwrap().len(), 64);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!(row["target"], "native");
        let same = &rows.iter().find(|other| other["prompt_tokens"] == row["prompt_tokens"]).unwrap();
        for hash in ["answer_hash", "logits_hash"] {
            assert_eq!(row[hash].as_str().unwrap().len(), 16);
            assert_eq!(row[hash], same[hash], "threads change nothing");
        }
        for (figure, n) in [
            ("cold_start_ms", 2),
            ("load_ms", 2),
            ("ttft_ms", 40),
            ("prefill_tokens_per_second", 40),
            ("decode_tokens_per_second", 40),
            ("inter_token_ms", 40 * 11),
        ] {
            let figure = &row[figure];
            assert_eq!(figure["n"], n, "{row}");
            let number = |name: &str| figure[name].as_f64().unwrap();
            assert!(0.0 < number("p50") && number("p50") <= number("p99") && number("p99") <= number("max"));
            let (low, high) = (figure["ci95"][0].as_f64().unwrap(), figure["ci95"][1].as_f64().unwrap());
            assert!(low <= number("mean") && number("mean") <= high);
        }
        if cfg!(target_os = "linux") {
            assert!(row["peak_rss_bytes"]["max"].as_f64().unwrap() > 1e6, "{row}");
        }
    }
    let csv = fs::read_to_string(place.path("out").join("report.csv")).unwrap();
    assert!(csv.lines().count() > 4 * 8 && csv.starts_with("target,engine,"), "{csv}");
    let markdown = fs::read_to_string(place.path("out").join("report.md")).unwrap();
    assert_eq!(markdown, outcome.stdout);
    let html = fs::read_to_string(place.path("out").join("report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("http"), "the page needs nothing else");
}

#[test]
fn a_wrong_answer_is_found_before_a_time_counts() {
    let place = place();
    for (how, words) in
        [("token", "a different answer than good: token 7 is"), ("logits", "from different logits")]
    {
        let good = sabotaged("not").replacen("native", "good", 1);
        let bad = sabotaged(how).replacen("native", "bad", 1);
        let outcome = benchmark(&place, how, &["--threads", "1", "--targets", &good, "--targets", &bad]);
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert!(outcome.stderr.lines().last().unwrap().contains(words), "{outcome:#?}");
        let report = report(&place, how);
        for row in report["rows"].as_array().unwrap() {
            let (problem, figure) = (&row["problem"], &row["decode_tokens_per_second"]);
            if row["target"] == "bad" {
                assert!(problem.as_str().unwrap().contains(&words[..8]) && figure.is_null(), "{row}");
            } else {
                assert!(problem.is_null() && figure["n"] == 40, "{row}");
            }
        }
    }
}

#[test]
fn a_target_that_became_slower_is_found() {
    let place = place();
    // Other tests keep the machine busy meanwhile: more runs, until the difference shows.
    let mut missed = Vec::new();
    for runs in ["400", "800", "1600", "3200"] {
        match find_slower(&place, runs) {
            Ok(()) => return,
            Err(found) => missed.push(found),
        }
    }
    panic!("{missed:#?}");
}

/// Compares a target with one that is slower, after so many runs of each. Fails with what was found, if that is not that.
fn find_slower(place: &Place, runs: &str) -> Result<(), String> {
    // In turn in one run, so that both met the same machine; then compared as two runs are.
    let before = sabotaged("not").replacen("native", "before", 1);
    let after = sabotaged("slow").replacen("native", "after", 1);
    let more = ["--iterations", runs, "--threads", "1", "--targets", &before, "--targets", &after];
    benchmark(place, "both", &more).succeeded();
    for name in ["before", "after"] {
        let mut report = report(place, "both");
        report["rows"].as_array_mut().unwrap().retain_mut(|row| {
            let keep = row["target"] == name;
            row["target"] = "native".into();
            keep
        });
        fs::write(place.path(&format!("{name}.json")), report.to_string()).unwrap();
    }
    let compare = |a: &str, b: &str| place.run(&["benchmark", "compare", a, b, "--json"]);
    let same = compare("before.json", "before.json").succeeded();
    let same: Value = serde_json::from_str(&same.stdout).unwrap();
    assert!(
        same["changes"].as_array().unwrap().iter().all(|change| change["verdict"] != "regression"),
        "{same}"
    );

    let slower = compare("before.json", "after.json");
    let found: Value =
        serde_json::from_str(&slower.stdout).map_err(|error| format!("{error}: {slower:#?}"))?;
    let worse = |figure: &&str| {
        let changes = found["changes"].as_array().unwrap().iter();
        changes.filter(|change| change["figure"] == **figure && change["verdict"] == "regression").count() > 0
    };
    if !["ttft_ms", "prefill_tokens_per_second", "decode_tokens_per_second"].iter().all(worse) {
        return Err(format!("{found:#}"));
    }
    assert_eq!(slower.code, Some(1), "{slower:#?}");
    assert!(slower.stderr.contains("after.json is worse than before.json"), "{slower:#?}");
    let better = compare("after.json", "before.json").succeeded();
    assert!(better.stdout.contains("improvement"), "{better:#?}");
    Ok(())
}

#[test]
fn ctrl_c_keeps_what_was_measured() {
    let place = place();
    // Until some runs have been done, however busy the machine is.
    for seconds in [2, 4, 8, 16, 32] {
        let mut command = place.command(&["benchmark", "--model", "model.tmac2.bin", "--targets", "native"]);
        command.args(["--iterations", "1000000", "--warmup", "0", "--cold-starts", "0", "--threads", "1"]);
        command.args(["--prompt-lengths", "8", "--generate", "4", "--output", "out"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        sleep(Duration::from_secs(seconds));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        if !place.path("out").join("report.json").exists() {
            continue;
        }
        assert!(output.status.success(), "{output:?}");
        let report = report(&place, "out");
        assert_eq!(report["interrupted"], true);
        if let Some(n) = report["rows"][0]["ttft_ms"]["n"].as_u64() {
            assert!(n > 0 && n < 1_000_000);
            return;
        }
    }
    panic!("nothing was measured within 32 seconds");
}

#[test]
fn unreasonable_wishes_are_refused() {
    let place = place();
    let refused = |more: &[&str], words: &[&str]| {
        let command = [&["benchmark", "--model", "model.tmac2.bin"][..], more].concat();
        place.run(&command).failed_with(words);
    };
    refused(&["--targets", "nativ"], &["unknown target \"nativ\"", "browser"]);
    refused(&["--peers", "gpt"], &["unknown peer \"gpt\"", "llama.cpp"]);
    refused(&["--generate", "0"], &["--generate must be at least 1"]);
    fs::write(place.path("no.json"), "{}").unwrap();
    place.run(&["benchmark", "compare", "no.json", "no.json"]).failed_with(&["no.json is no report"]);
}
