//! Named pipes and the like in the place of files: an error that says so, and never a wait for the other end.
#![cfg(unix)]

use crate::hub::{NAME, WEIGHTS, model_folder};
use crate::program::{Outcome, Place, folder, names, run_at_once};
use edgellm::testing::{recipes, seeded_model};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn run(place: &Place, args: &[&str]) -> Outcome {
    run_at_once(&mut place.command(args))
}

#[test]
fn in_the_place_of_a_model() {
    let place = Place::new();
    for name in ["pipe", "pipe.gguf", "pipe.tmac2.bin"] {
        pipe(&place.path(name));
        for command in ["info", "chat", "serve"] {
            run(&place, &[command, "--model", &format!("./{name}")])
                .failed_in_one_line(&[name, "named pipe"]);
        }
        let output = ["--format", "int4", "--output", "out.tmac2.bin"];
        run(&place, &[&["quantize", "--input", name], &output[..]].concat())
            .failed_in_one_line(&["named pipe"]);
    }
    let _socket = UnixListener::bind(place.path("socket.gguf")).unwrap();
    run(&place, &["info", "--model", "socket.gguf"]).failed_in_one_line(&["a socket"]);
    run(&place, &["info", "--model", "/dev/zero"]).failed_in_one_line(&["a device"]);
    fs::create_dir(place.path("folder.gguf")).unwrap();
    run(&place, &["info", "--model", "folder.gguf"]).failed_in_one_line(&["a directory"]);
}

#[test]
fn in_a_models_directory() {
    for name in ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja", "any.json"] {
        let place = Place::new();
        folder(&place.path("model"));
        pipe(&place.path("model").join(name));
        run(&place, &["info", "--model", "model"]).failed_in_one_line(&[name, "named pipe"]);
    }
}

#[test]
fn in_the_cache() {
    let place = Place::new();
    folder(&place.path("model"));
    run(&place, &["info", "--model", "model"]).succeeded();
    let (files, locks) = (place.cache().join("files"), place.cache().join("locks"));
    let (file, lock) = (files.join(&names(&files)[0]), locks.join(&names(&locks)[0]));
    pipe(&lock);
    run(&place, &["info", "--model", "model"]).succeeded();
    fs::remove_file(&file).unwrap();
    run(&place, &["info", "--model", "model"]).failed_in_one_line(&[".lock", "named pipe"]);
    fs::remove_file(&lock).unwrap();
    pipe(&file);
    run(&place, &["info", "--model", "model"]).failed_with(&["auto.tmac2.bin", "named pipe"]);
    run(&place, &["list"]).succeeded();
    // Half a download, a whole one, and its list.
    for (folder, name) in [("partial", "config.json.part"), ("source", WEIGHTS), ("source", "checksums.txt")]
    {
        let place = Place::new();
        let server = crate::server::Server::start(|request| {
            crate::hub::serve_repository(
                request,
                b"weights",
                &[("config.json", b"{}"), ("tokenizer.json", b"{}")],
            )
        });
        let pull = || run_at_once(place.command(&["pull", NAME]).env("HF_ENDPOINT", &server.url));
        if folder == "source" {
            pull().succeeded();
        }
        place.private_folder(&model_folder(&place).join(folder));
        pipe(&model_folder(&place).join(folder).join(name));
        pull().failed_with(&[name, "named pipe"]);
    }
}

#[test]
fn in_the_place_of_texts() {
    let place = Place::new();
    fs::write(place.path("m.tmac2.bin"), seeded_model(recipes()[0], 1).unwrap()).unwrap();
    pipe(&place.path("pipe"));
    let on = |args: &[&str]| run(&place, &[args, &["--model", "m.tmac2.bin"]].concat());
    for args in [
        &["tokenize", "--file", "pipe"][..],
        &["perplexity", "--text", "pipe"],
        &["perplexity", "--text", "m.tmac2.bin", "--save-logits", "pipe"],
        &["evaluate", "--questions", "pipe"],
        &["evaluate", "--task", "pipe"],
        &["serve", "--api-key-file", "pipe"],
        &["benchmark", "--quality", "pipe"],
    ] {
        on(args).failed_in_one_line(&["pipe", "named pipe"]);
    }
    run(&place, &["benchmark", "compare", "pipe", "pipe"]).failed_in_one_line(&["named pipe"]);
    #[cfg(feature = "plugin")]
    on(&["generate", "--prompt", "a", "--target", "plugin", "--plugin", "pipe"])
        .failed_in_one_line(&["named pipe"]);
}
