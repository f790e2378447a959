//! Models as people have them: split, linked, half downloaded, or something else. What can be read is read; the rest is one
//! line that says what it is and what to do.

use crate::program::{FOLDER, Outcome, Place, folder, names, run};
use edgellm::testing::{recipes, seeded_chat_model};
use edgellm_quantize::gguf::{Gguf, GgufTensor};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

/// A complete model of one layer.
const GGUF: &[u8] = include_bytes!("../../../fuzz/seeds/gguf/llama");

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A part of [`GGUF`] as `llama-gguf-split` writes it.
fn part(number: u16, count: u16, keys: &[u8], key_count: u64, tensors: &[GgufTensor<'_>]) -> Vec<u8> {
    let mut head = b"GGUF\x03\0\0\0".to_vec();
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((key_count + 2).to_le_bytes());
    head.extend(keys);
    for (key, value) in [("split.no", number), ("split.count", count)] {
        head.extend([text(key), 2_u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat());
    }
    let mut data = Vec::new();
    for tensor in tensors {
        head.extend(text(tensor.name));
        head.extend((tensor.dimensions as u32).to_le_bytes());
        let dimensions = [tensor.shape[1], tensor.shape[0]];
        dimensions[..tensor.dimensions].iter().for_each(|&size| head.extend((size as u64).to_le_bytes()));
        head.extend(tensor.ggml_type.number().to_le_bytes());
        head.extend((data.len() as u64).to_le_bytes());
        data.extend(tensor.data);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    head.resize(head.len().next_multiple_of(32), 0);
    [head, data].concat()
}

/// [`GGUF`] in three parts.
fn parts() -> [Vec<u8>; 3] {
    let gguf = Gguf::parse(GGUF).unwrap();
    let tensors = gguf.tensors();
    let directory = text(tensors[0].name);
    let end = GGUF.windows(directory.len()).position(|window| window == directory).unwrap();
    let key_count = u64::from_le_bytes(GGUF[16..24].try_into().unwrap());
    // The first one has no tensors, as with --no-tensor-first-split.
    [
        part(0, 3, &GGUF[24..end], key_count, &[]),
        part(1, 3, &[], 0, &tensors[..5]),
        part(2, 3, &[], 0, &tensors[5..]),
    ]
}

fn part_name(number: usize) -> String {
    format!("tiny-0000{number}-of-00003.gguf")
}

fn generate(place: &Place, model: &str) -> Outcome {
    place.run(&[
        "generate",
        "--model",
        model,
        "--raw",
        "--prompt",
        "he",
        "-n",
        "4",
        "--temperature",
        "0",
        "--json",
    ])
}

fn tokens(place: &Place, model: &str) -> Value {
    let object: Value = serde_json::from_str(&generate(place, model).succeeded().stdout).unwrap();
    object["token_ids"].clone()
}

#[test]
fn a_split_gguf_file_is_read_whichever_part_is_named() {
    let place = Place::new();
    fs::write(place.path("whole.gguf"), GGUF).unwrap();
    let expected = tokens(&place, "whole.gguf");
    for (index, bytes) in parts().iter().enumerate() {
        fs::write(place.path(&part_name(index + 1)), bytes).unwrap();
    }
    for number in 1..=3 {
        assert_eq!(tokens(&place, &part_name(number)), expected, "part {number}");
    }
    assert_eq!(names(&place.cache().join("files")).len(), 2, "all parts are one model");
    let output = ["--format", "int8", "--output", "out.tmac2.bin"];
    place.run(&[&["quantize", "--input", &part_name(2)], &output[..]].concat()).succeeded();
}

#[test]
fn parts_that_are_missing_or_something_else_are_named() {
    let place = Place::new();
    let parts = parts();
    fs::write(place.path(&part_name(1)), &parts[0]).unwrap();
    fs::write(place.path(&part_name(3)), &parts[2]).unwrap();
    for number in [1, 3] {
        let words = ["part 2 of 3", "one directory", "llama-gguf-split --merge"];
        generate(&place, &part_name(number)).failed_in_one_line(&words);
    }
    fs::write(place.path(&part_name(2)), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        .unwrap();
    generate(&place, &part_name(1)).failed_in_one_line(&[&part_name(2), "git lfs pull"]);
    fs::write(place.path(&part_name(2)), [0xff; 100]).unwrap();
    generate(&place, &part_name(1)).failed_in_one_line(&[&part_name(2), "not a GGUF file"]);
    fs::write(place.path("renamed.gguf"), &parts[0]).unwrap();
    generate(&place, "renamed.gguf").failed_in_one_line(&["part 2 of 3"]);
    assert_eq!(names(&place.cache().join("files")), [""; 0]);
}

#[cfg(unix)]
#[test]
fn parts_may_be_links_to_files_with_other_names() {
    let place = Place::new();
    fs::write(place.path("whole.gguf"), GGUF).unwrap();
    for (index, bytes) in parts().iter().enumerate() {
        let blob = place.path(&format!("blob{index}"));
        fs::write(&blob, bytes).unwrap();
        std::os::unix::fs::symlink(blob, place.path(&part_name(index + 1))).unwrap();
    }
    assert_eq!(tokens(&place, &part_name(1)), tokens(&place, "whole.gguf"));
}

#[test]
fn a_file_of_a_directory_stands_for_the_directory() {
    let place = Place::new();
    folder(&place.path("model"));
    let expected = tokens(&place, "model");
    for file in ["model/model.safetensors", "model/config.json", "model/tokenizer.json"] {
        assert_eq!(tokens(&place, file), expected, "{file}");
    }
    assert_eq!(names(&place.cache().join("files")).len(), 1);
    fs::write(place.path("alone.safetensors"), FOLDER[2].1).unwrap();
    generate(&place, "alone.safetensors").failed_in_one_line(&["a safetensors file", "config.json"]);
}

#[test]
fn what_is_no_model_is_told_what_it_is() {
    let place = Place::new();
    for (bytes, found, remedy) in [
        (&b""[..], "empty", "download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "Git LFS pointer",
            "git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in", "web page", "download the file itself"),
        (b"Invalid username or password.", "short text", "download the file again"),
        (b"PK\x03\x04\0\0\0\0\0\0", "archive", "unpack"),
        (b"tjgg\x03\0\0\0", "before GGUF", ".gguf"),
        (&[0; 4096], "zeros", "download it again"),
    ] {
        for name in ["model.gguf", "model.tmac2.bin", "model"] {
            fs::write(place.path(name), bytes).unwrap();
            generate(&place, &format!("./{name}")).failed_in_one_line(&[name, found, remedy]);
            let args = ["quantize", "--input", name, "--format", "int4", "--output", "out.tmac2.bin"];
            place.run(&args).failed_in_one_line(&[name, found, remedy]);
            fs::remove_file(place.path(name)).unwrap();
        }
    }
    let mut gguf = GGUF.to_vec();
    gguf.truncate(GGUF.len() - 1000);
    fs::write(place.path("half.gguf"), gguf).unwrap();
    generate(&place, "half.gguf").failed_in_one_line(&["half.gguf", "truncated", "download it again"]);
    assert_eq!(place.names(), ["half.gguf"]);
    assert_eq!(names(&place.cache().join("files")), [""; 0]);
}

#[test]
fn a_tokenizer_that_cannot_run_is_refused_before_the_conversion() {
    let place = Place::new();
    folder(&place.path("model"));
    let mut tokenizer: Value = serde_json::from_slice(FOLDER[1].1).unwrap();
    tokenizer["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]});
    fs::write(place.path("model/tokenizer.json"), tokenizer.to_string()).unwrap();
    let words = ["tokenizer", "Unigram", "only BPE", "another model"];
    place
        .run(&["quantize", "--input", "model", "--format", "int4", "--output", "out.tmac2.bin"])
        .failed_in_one_line(&words);
    generate(&place, "model").failed_in_one_line(&words);
    assert_eq!(place.names(), ["model"]);
    assert_eq!(names(&place.cache().join("files")), [""; 0]);
}

#[test]
fn a_damaged_file_of_the_cache_is_made_anew() {
    let place = Place::new();
    fs::write(place.path("tiny.gguf"), GGUF).unwrap();
    let expected = tokens(&place, "tiny.gguf");
    let files = place.cache().join("files");
    let cached = files.join(&names(&files)[0]);
    let mut bytes = fs::read(&cached).unwrap();
    let at = bytes.len() - 40;
    bytes[at] ^= 4;
    fs::write(&cached, &bytes).unwrap();
    let words = ["is damaged", "removed from the cache", "run this again"];
    place.run(&["info", "--model", "tiny.gguf"]).failed_in_one_line(&words);
    assert_eq!(names(&files), [""; 0]);
    assert_eq!(tokens(&place, "tiny.gguf"), expected);
    // A file of the user's is left alone.
    fs::write(place.path("mine.tmac2.bin"), &bytes).unwrap();
    place.run(&["info", "--model", "mine.tmac2.bin"]).failed_in_one_line(&["is damaged"]);
    assert_eq!(place.names(), ["mine.tmac2.bin", "tiny.gguf"]);
}

#[test]
fn an_empty_chat_template_is_none() {
    let place = Place::new();
    fs::write(place.path("empty.tmac2.bin"), seeded_chat_model(recipes()[0], 5, Some("")).unwrap()).unwrap();
    let args = ["generate", "--model", "empty.tmac2.bin", "--prompt", "a", "-n", "2"];
    place.run(&args).succeeded();
    place.run(&[&args[..], &["--chat"]].concat()).failed_in_one_line(&["no chat template"]);
}

/// What a conversation said whose lines came through a pipe.
fn chat(place: &Place, lines: &[u8]) -> Outcome {
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    fs::write(place.path("m.tmac2.bin"), seeded_chat_model(recipes()[0], 5, Some(template)).unwrap())
        .unwrap();
    let mut command = place.command(&["chat", "--model", "m.tmac2.bin", "-n", "2", "--temperature", "0"]);
    fs::write(place.path("lines.txt"), lines).unwrap();
    run(command.stdin(Stdio::from(fs::File::open(place.path("lines.txt")).unwrap())))
}

#[test]
fn a_bad_byte_in_a_piped_chat_is_replaced_and_told() {
    let place = Place::new();
    let outcome = chat(&place, b"\xEF\xBB\xBFcaf\xe9\r\nand then\n/save said.json").succeeded();
    let said: Value = serde_json::from_str(&fs::read_to_string(place.path("said.json")).unwrap()).unwrap();
    assert_eq!((&said[0]["content"], &said[2]["content"]), (&json!("caf\u{fffd}"), &json!("and then")));
    let notes: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("not UTF-8")).collect();
    assert_eq!(notes.len(), 1, "{}", outcome.stderr);
    assert!(notes[0].contains("0xe9") && notes[0].contains("iconv"), "{}", notes[0]);
}

#[test]
fn a_bad_byte_in_a_piped_prompt_is_replaced_and_told() {
    let place = Place::new();
    fs::write(place.path("tiny.gguf"), GGUF).unwrap();
    let mut command =
        place.command(&["generate", "--model", "tiny.gguf", "--raw", "--prompt", "-", "-n", "1", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"he\xff\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("0xff") && stderr.contains("iconv"), "{stderr}");
    // A file that must be text says what to do, too.
    fs::write(place.path("task.jsonl"), b"{\"context\": \"caf\xe9\", \"choices\": [\" a\"]}").unwrap();
    let args = ["evaluate", "--model", "tiny.gguf", "--task", "task.jsonl"];
    place.run(&args).failed_in_one_line(&["task.jsonl", "UTF-8", "iconv"]);
}
