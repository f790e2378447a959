//! What other users could change is not trusted: the cache, the machine code in it, and public model files.
#![cfg(unix)]

use crate::program::{Outcome, Place, folder, names, run, set_mode};
use edgellm::testing::{recipes, seeded_model};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn info(place: &Place, model: &str) -> Outcome {
    place.run(&["info", "--model", model])
}

/// A place whose cache has a converted model; the paths of the cache, of a directory in it and of the file in that.
fn converted() -> (Place, [PathBuf; 3]) {
    let place = Place::new();
    folder(&place.path("model"));
    info(&place, "model").succeeded();
    let files = place.cache().join("files");
    let file = files.join(&names(&files)[0]);
    let cache = place.cache();
    (place, [cache, files, file])
}

#[test]
fn a_cache_that_others_can_write_to_is_refused() {
    for (part, mode) in [(0, 0o777), (0, 0o770), (0, 0o1777), (1, 0o722), (2, 0o666), (2, 0o620)] {
        let (place, paths) = converted();
        set_mode(&paths[part], mode);
        let path = paths[part].to_str().unwrap();
        info(&place, "model").failed_in_one_line(&[path, "other users can change", "chmod", "go-w"]);
        set_mode(&paths[part], if part == 2 { 0o600 } else { 0o700 });
        info(&place, "model").succeeded();
    }
    // A model file of the user's needs no cache.
    let place = Place::new();
    fs::create_dir(place.cache()).unwrap();
    set_mode(&place.cache(), 0o777);
    fs::write(place.path("m.tmac2.bin"), seeded_model(recipes()[0], 1).unwrap()).unwrap();
    info(&place, "m.tmac2.bin").succeeded();
    let doctor = place.run(&["doctor"]).succeeded().stdout;
    assert!(doctor.contains("unusable") && doctor.contains("chmod"), "{doctor}");
    for name in ["smollm2-135m-instruct", "smollm-135m"] {
        place.run(&["pull", name]).failed_in_one_line(&["other users can change", "chmod"]);
    }
}

#[test]
fn a_cache_in_a_directory_that_others_can_write_to_is_refused() {
    let (place, _) = converted();
    let above = place.cache().parent().unwrap().to_path_buf();
    set_mode(&above, 0o777);
    info(&place, "model").failed_in_one_line(&["other users can change", above.to_str().unwrap()]);
    // As /tmp is.
    set_mode(&above, 0o1777);
    info(&place, "model").succeeded();
    set_mode(&above, 0o700);
}

#[test]
fn a_cache_of_another_user_is_refused() {
    for part in 0..3 {
        let (place, paths) = converted();
        if let Err(error) = chown(&paths[part], Some(65534), None) {
            println!("skipped: only the superuser gives files away ({error})");
            return;
        }
        let words = [paths[part].to_str().unwrap(), "belongs to another user (number 65534)", "chown"];
        info(&place, "model").failed_in_one_line(&words);
    }
}

#[test]
fn a_new_cache_is_private_whatever_the_umask() {
    let place = Place::new();
    folder(&place.path("model"));
    let mut command = std::process::Command::new("sh");
    let script = format!("umask 0; exec {} info --model model", env!("CARGO_BIN_EXE_edgellm"));
    command
        .args(["-c", &script])
        .current_dir(place.path(""))
        .env("EDGELLM_HOME", place.cache().join("deep/er"));
    run(command.stdin(Stdio::null())).succeeded();
    let mut pending = vec![place.cache()];
    let mut seen = 0;
    while let Some(path) = pending.pop() {
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        let most = if path.is_dir() { 0o700 } else { 0o644 };
        assert!(mode & !most == 0, "{path:?}: {mode:o}");
        seen += 1;
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 4, "{seen}");
}

#[test]
fn public_models_are_refused_and_shared_ones_copied() {
    let place = Place::new();
    let (file, model) = (place.path("m.tmac2.bin"), place.path("model"));
    fs::write(&file, seeded_model(recipes()[0], 1).unwrap()).unwrap();
    folder(&model);
    let refused = |model: &str, path: &Path| {
        info(&place, model).failed_in_one_line(&[path.file_name().unwrap().to_str().unwrap(), "chmod go-w"]);
    };
    set_mode(&file, 0o666);
    refused("m.tmac2.bin", &file);
    set_mode(&model.join("tokenizer.json"), 0o602);
    refused("model", &model.join("tokenizer.json"));
    set_mode(&model.join("tokenizer.json"), 0o600);
    set_mode(&model, 0o777);
    info(&place, "model").failed_in_one_line(&["model", "chmod -R go-w"]);
    set_mode(&model, 0o755);
    info(&place, "model").succeeded();
    // One that another user can change might be cut off at any time. The owner's own group is the owner.
    set_mode(&file, 0o664);
    if chown(&file, None, Some(65534)).is_err() {
        println!("skipped: only the superuser gives files to any group");
        return;
    }
    for weights in ["auto", "mapped"] {
        place
            .run(&[
                "generate",
                "--model",
                "m.tmac2.bin",
                "--raw",
                "--prompt",
                "a",
                "-n",
                "1",
                "--weights",
                weights,
            ])
            .succeeded();
    }
    let text = info(&place, "m.tmac2.bin").succeeded().stdout;
    assert!(text.contains("copied") && text.contains("another user can change the file"), "{text}");
    set_mode(&file, 0o644);
    assert!(!info(&place, "m.tmac2.bin").succeeded().stdout.contains("another user"));
}

#[cfg(feature = "plugin")]
#[test]
fn machine_code_that_others_can_change_is_refused() {
    let place = Place::new();
    fs::write(place.path("m.tmac2.bin"), seeded_model(recipes()[0], 1).unwrap()).unwrap();
    let run = || {
        place.run(&[
            "generate",
            "--model",
            "m.tmac2.bin",
            "--target",
            "plugin",
            "--raw",
            "--prompt",
            "a",
            "-n",
            "1",
        ])
    };
    let first = run();
    if first.stderr.contains("built without a component") {
        println!("skipped: {}", first.stderr);
        return;
    }
    first.succeeded();
    let code = place.cache().join("plugin");
    let file = code.join(&names(&code)[0]);
    for (path, bad, good) in [(place.cache(), 0o777, 0o700), (code, 0o770, 0o700), (file, 0o606, 0o600)] {
        set_mode(&path, bad);
        run().failed_in_one_line(&["other users can change", path.to_str().unwrap(), "chmod"]);
        set_mode(&path, good);
    }
    run().succeeded();
}
