//! Errors in the input are reported in one line, and leave no incomplete files.

use crate::program::{Outcome, Place, names, run};
use edgellm::testing::{recipes, seeded_model};
use std::fs;
use std::path::Path;

/// A small model file.
fn model() -> Vec<u8> {
    seeded_model(recipes()[0], 1).unwrap()
}

/// Runs every command that opens a model on a file with these bytes.
fn open_all(place: &Place, bytes: &[u8]) -> Vec<Outcome> {
    fs::write(place.path("model.tmac2.bin"), bytes).unwrap();
    fs::write(place.path("text.txt"), "some text").unwrap();
    [
        &["generate", "--model", "model.tmac2.bin", "--prompt", "a"][..],
        &["generate", "--model", "model.tmac2.bin", "--prompt", "a", "--json"],
        &["chat", "--model", "model.tmac2.bin"],
        &["info", "--model", "model.tmac2.bin"],
        &["tokenize", "--model", "model.tmac2.bin", "--text", "a"],
        &["perplexity", "--model", "model.tmac2.bin", "--text", "text.txt"],
        &["export", "--model", "model.tmac2.bin", "--output", "out"],
    ]
    .into_iter()
    .map(|args| place.run(args))
    .collect()
}

/// A GGUF file with these metadata pairs (already encoded) and tensors (name, dimensions, type, offset).
fn gguf(pairs: &[Vec<u8>], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((pairs.len() as u64).to_le_bytes());
    bytes.extend(pairs.concat());
    for (name, dimensions, kind, offset) in tensors {
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

#[test]
fn a_sound_file_is_accepted() {
    // Otherwise the tests below would prove nothing.
    let place = Place::new();
    fs::write(place.path("model.tmac2.bin"), model()).unwrap();
    let run = |args: &[&str]| place.run(args).succeeded();
    run(&["info", "--model", "model.tmac2.bin"]);
    assert_eq!(names(&place.cache()), [""; 0], "a model file needs no cache");
    let text =
        run(&["generate", "--model", "model.tmac2.bin", "--raw", "--prompt", "a", "-n", "4", "--json"])
            .stdout;
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!object["token_ids"].as_array().unwrap().is_empty());
    assert_eq!(names(&place.cache()), ["last-model.txt"], "it is remembered, and not converted");
}

#[test]
fn damaged_model_files() {
    let place = Place::new();
    let good = model();
    let data = good.len() - 40;
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let cases: [(&str, Vec<u8>, &[&str]); 12] = [
        ("empty", Vec::new(), &["is empty", "download it again"]),
        ("half a magic", good[..5].to_vec(), &["not a .tmac2.bin file"]),
        ("half a header", good[..20].to_vec(), &["20 bytes long"]),
        ("truncated metadata", good[..200].to_vec(), &["200 bytes long", "again"]),
        ("one byte short", good[..good.len() - 1].to_vec(), &["bytes long"]),
        ("one byte long", [&good[..], &[0]].concat(), &["bytes long"]),
        ("wrong magic", damaged(&|bytes| bytes[0] = b'X'), &["not a .tmac2.bin file"]),
        ("wrong version", damaged(&|bytes| bytes[8] = 99), &["version 99", "reads versions 1 to"]),
        ("oversized header", damaged(&|bytes| bytes[16..24].fill(0xff)), &["metadata claims"]),
        ("oversized file length", damaged(&|bytes| bytes[24..32].fill(0xff)), &["bytes long"]),
        (
            "bit flip in the metadata",
            damaged(&|bytes| bytes[100] ^= 4),
            &["the metadata is damaged", "checksum"],
        ),
        ("bit flip in a tensor", damaged(&|bytes| bytes[data] ^= 4), &["is damaged", "checksum"]),
    ];
    for (case, bytes, words) in cases {
        for outcome in open_all(&place, &bytes) {
            println!("{case}: {}", outcome.stderr);
            outcome.failed_in_one_line(&[&["model.tmac2.bin"], words].concat());
        }
    }
    assert_eq!(place.names(), ["model.tmac2.bin", "text.txt"]);
}

#[test]
fn no_such_thing() {
    let place = Place::new();
    let generate = |model: &str| place.run(&["generate", "--model", model, "--prompt", "a"]);
    generate("no/such.tmac2.bin").failed_in_one_line(&["no file no/such.tmac2.bin"]);
    generate("such.gguf").failed_in_one_line(&["no file such.gguf"]);
    generate("smollm2-135m-instrct").failed_in_one_line(&[
        "no model",
        "did you mean smollm2-135m-instruct",
        "edgellm list",
    ]);
    generate("zzzz").failed_in_one_line(&["no model \"zzzz\"", "edgellm list"]);
    generate(".").failed_in_one_line(&["is a directory", "config.json"]);
    generate("two\nlines").failed_in_one_line(&["no model"]);
    generate("no/two\nlines").failed_in_one_line(&["no/two lines"]);
    #[cfg(unix)]
    generate("/dev/null").failed_in_one_line(&["/dev/null", "not a regular file"]);
    for command in ["pull", "rm"] {
        place.run(&[command, "smollm2"]).failed_in_one_line(&["did you mean smollm2-"]);
    }
    fs::write(place.path("m.tmac2.bin"), model()).unwrap();
    let on = |args: &[&str]| {
        place.run(&[&["generate", "--model", "m.tmac2.bin", "--raw", "--prompt", "a"], args].concat())
    };
    on(&["--kernel", "abacus"]).failed_in_one_line(&["abacus", "portable"]);
    on(&["--temperature=-1"]).failed_in_one_line(&["temperature is -1"]);
    on(&["--temperature", "nan"]).failed_in_one_line(&["temperature"]);
    on(&["--context", "0"]).failed_in_one_line(&["context of 0"]);
    on(&["--context", "999999999"]).failed_in_one_line(&["context of 999999999"]);
    on(&["--stop", ""]).failed_in_one_line(&["stop"]);
    on(&["--format", "int8"]).failed_in_one_line(&["already converted"]);
    let empty = place.run(&["generate", "--model", "m.tmac2.bin", "--raw", "--prompt", ""]);
    empty.failed_in_one_line(&["prompt is empty"]);
    let system = place.run(&["generate", "--model", "m.tmac2.bin", "--system", "a", "--prompt", "b"]);
    system.failed_in_one_line(&["no chat template"]);
    place.run(&["chat", "--model", "m.tmac2.bin"]).failed_in_one_line(&["no chat template"]);
    let text = |text: &str| place.run(&["perplexity", "--model", "m.tmac2.bin", "--text", text]);
    text("nowhere.txt").failed_in_one_line(&["nowhere.txt"]);
    fs::write(place.path("short.txt"), "short").unwrap();
    text("short.txt").failed_in_one_line(&["too few"]);
}

#[test]
fn a_prompt_longer_than_the_context() {
    let place = Place::new();
    fs::write(place.path("m.tmac2.bin"), model()).unwrap();
    let args =
        ["generate", "--model", "m.tmac2.bin", "--raw", "--context", "4", "--prompt", "too many bytes"];
    place.run(&args).failed_in_one_line(&["14 more tokens do not fit", "context"]);
}

#[test]
fn sources_that_lie() {
    let place = Place::new();
    let text = |key: &str, value: &str| {
        let mut pair = Vec::new();
        for (index, text) in [key, value].into_iter().enumerate() {
            if index == 1 {
                pair.extend(8_u32.to_le_bytes());
            }
            pair.extend((text.len() as u64).to_le_bytes());
            pair.extend(text.as_bytes());
        }
        pair
    };
    let architecture = text("general.architecture", "llama");
    let huge = |count: u64| {
        let mut bytes = gguf(&[], &[], 0);
        bytes[8..16].copy_from_slice(&count.to_le_bytes());
        bytes
    };
    let with = |dimensions: &[u64], offset| {
        gguf(std::slice::from_ref(&architecture), &[("token_embd.weight", dimensions, 0, offset)], 64)
    };
    let cases = [
        ("magic only", b"GGUF".to_vec()),
        ("more tensors than bytes", huge(u64::MAX)),
        ("many tensors", huge(1 << 40)),
        ("dimensions that overflow", with(&[u64::MAX, u64::MAX], 0)),
        ("dimensions beyond the file", with(&[1 << 30, 1 << 20], 0)),
        ("offset beyond the file", with(&[4, 4], u64::MAX - 31)),
        ("no configuration", with(&[4, 4], 0)),
        ("another architecture", gguf(&[text("general.architecture", "mamba")], &[], 0)),
        ("text", b"# A text file\n".to_vec()),
        ("empty", Vec::new()),
        ("a model file", model()),
    ];
    for (case, bytes) in cases {
        fs::write(place.path("in.gguf"), &bytes).unwrap();
        let outcome =
            place.run(&["quantize", "--input", "in.gguf", "--format", "int4", "--output", "out.tmac2.bin"]);
        println!("{case}: {}", outcome.stderr);
        outcome.failed_in_one_line(&["in.gguf"]);
        if bytes.starts_with(b"GGUF") {
            // On first use it fails the same way, before a conversion is announced.
            place.run(&["generate", "--model", "in.gguf", "--prompt", "a"]).failed_in_one_line(&["in.gguf"]);
            assert_eq!(names(&place.cache().join("files")), [""; 0], "{case}");
        }
    }
    assert_eq!(place.names(), ["in.gguf"]);
    let missing = place.run(&["quantize", "--input", "no.gguf", "--format", "int4", "--output", "o"]);
    missing.failed_in_one_line(&["no file no.gguf"]);
    let to_itself = place.run(&["quantize", "--input", "in.gguf", "--format", "int4", "--output", "in.gguf"]);
    to_itself.failed_in_one_line(&["the same file"]);
}

#[test]
fn folders_that_lack_something() {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    let quantize =
        || place.run(&["quantize", "--input", "model", "--format", "int4", "--output", "out.tmac2.bin"]);
    quantize().failed_in_one_line(&["model is a directory", "config.json"]);
    fs::write(place.path("model/config.json"), "{").unwrap();
    quantize().failed_in_one_line(&["tokenizer.json"]);
    fs::write(place.path("model/tokenizer.json"), "{}").unwrap();
    quantize().failed_in_one_line(&["tokenizer"]);
    assert_eq!(place.names(), ["model"]);
}

#[test]
fn outputs_that_cannot_be() {
    let place = Place::new();
    fs::write(place.path("in.gguf"), gguf(&[], &[], 0)).unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    fs::write(place.path("m.tmac2.bin"), model()).unwrap();
    fs::write(place.path("text.txt"), "x".repeat(400)).unwrap();
    let save = |output: &str| {
        let args = [
            "perplexity",
            "--model",
            "m.tmac2.bin",
            "--text",
            "text.txt",
            "-c",
            "16",
            "--save-logits",
            output,
        ];
        place.run(&args)
    };
    save("folder").failed_in_one_line(&["folder is a directory"]);
    save("no/folder").failed_in_one_line(&["no/folder"]);
    #[cfg(unix)]
    save("/dev/full").failed_in_one_line(&["/dev/full", "not a regular file"]);
    save("logits.bin").succeeded();
    let windows = 400 / 16;
    let vocabulary = 256;
    assert!(place.path("logits.bin").metadata().unwrap().len() >= (windows * 7 * vocabulary * 4) as u64);
    assert_eq!(place.names(), ["folder", "in.gguf", "logits.bin", "m.tmac2.bin", "text.txt"]);
}

/// Mounts a file system of `kilobytes` at `folder`; `None` where that is not allowed.
#[cfg(target_os = "linux")]
fn small_disk(folder: &Path, kilobytes: usize) -> Option<()> {
    let size = format!("size={kilobytes}k");
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder).output();
    mount.is_ok_and(|output| output.status.success()).then_some(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let place = Place::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    if small_disk(&disk, 16).is_none() {
        println!("skipped: this user may not mount a small disk");
        return;
    }
    fs::write(place.path("m.tmac2.bin"), model()).unwrap();
    fs::write(place.path("text.txt"), "x".repeat(4000)).unwrap();
    let args = [
        "perplexity",
        "--model",
        "m.tmac2.bin",
        "--text",
        "text.txt",
        "-c",
        "16",
        "--save-logits",
        "disk/logits",
    ];
    let outcome = run(&mut place.command(&args));
    let left = names(&disk);
    assert!(std::process::Command::new("umount").arg(&disk).status().unwrap().success());
    assert_eq!(left, [""; 0], "nothing half-written");
    // Progress comes before it, one line a window.
    outcome.failed_with(&["disk/logits", "No space left", "free some space"]);
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves() {
    let place = Place::new();
    fs::write(place.path("m.tmac2.bin"), model()).unwrap();
    let mut command =
        place.command(&["generate", "--model", "m.tmac2.bin", "--raw", "--prompt", "a", "-n", "2000"]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}
