//! Symbolic links and names in a model's directory that lead out of it.
#![cfg(unix)]

use crate::program::{FOLDER, Place, folder, names};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn links_out_of_a_directory_are_refused() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        // Relative, absolute, and by way of another link or directory in it.
        for way in 0..4 {
            let place = Place::new();
            let model = place.path("model");
            folder(&model);
            fs::rename(model.join(name), place.path("secret")).unwrap();
            let target = match way {
                0 => "../secret".into(),
                1 => place.path("secret"),
                2 => {
                    symlink("../secret", model.join("middle")).unwrap();
                    "middle".into()
                }
                _ => {
                    symlink("..", model.join("up")).unwrap();
                    "up/secret".into()
                }
            };
            symlink(target, model.join(name)).unwrap();
            let words = [name, "a symbolic link to", "work/secret", "copy the file"];
            place.run(&["info", "--model", "model"]).failed_in_one_line(&words);
            let quantize = ["quantize", "--input", "model", "--format", "int4", "--output", "out.tmac2.bin"];
            place.run(&quantize).failed_in_one_line(&words);
            assert_eq!(names(&place.cache().join("files")), [""; 0]);
        }
    }
    let place = Place::new();
    folder(&place.path("model"));
    symlink("b.json", place.path("model/a.json")).unwrap();
    symlink("a.json", place.path("model/b.json")).unwrap();
    place.run(&["info", "--model", "model"]).failed_in_one_line(&[".json", "follow the link"]);
}

#[test]
fn the_layout_of_the_hubs_cache_is_read() {
    let place = Place::new();
    let root = place.path("hub/models--a--b");
    let (snapshot, blobs) = (root.join("snapshots/0123"), root.join("blobs"));
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    for (index, (name, bytes)) in FOLDER.iter().enumerate() {
        fs::write(blobs.join(format!("hash{index}")), bytes).unwrap();
        symlink(format!("../../blobs/hash{index}"), snapshot.join(name)).unwrap();
    }
    let model = snapshot.to_str().unwrap();
    place.run(&["info", "--model", model]).succeeded();
    // The user's own link to it.
    symlink(&snapshot, place.path("mine")).unwrap();
    place.run(&["info", "--model", "mine"]).succeeded();
    // But its blobs are files.
    fs::rename(blobs.join("hash1"), place.path("secret")).unwrap();
    symlink(place.path("secret"), blobs.join("hash1")).unwrap();
    place.run(&["info", "--model", model]).failed_in_one_line(&["tokenizer.json", "secret"]);
    fs::remove_file(snapshot.join("tokenizer.json")).unwrap();
    symlink("../../refs", snapshot.join("tokenizer.json")).unwrap();
    fs::write(root.join("refs"), FOLDER[1].1).unwrap();
    place.run(&["info", "--model", model]).failed_in_one_line(&["tokenizer.json", "refs"]);
}

#[test]
fn nothing_is_written_through_a_link() {
    let place = Place::new();
    folder(&place.path("model"));
    fs::write(place.path("precious"), "precious").unwrap();
    symlink("precious", place.path("out.tmac2.bin")).unwrap();
    symlink(place.path("new"), place.path("nowhere")).unwrap();
    for output in ["out.tmac2.bin", "nowhere"] {
        let quantize = ["quantize", "--input", "model", "--format", "int4", "--output", output];
        place.run(&quantize).failed_in_one_line(&[output, "a symbolic link", "remove it"]);
    }
    fs::create_dir(place.path("elsewhere")).unwrap();
    symlink("elsewhere", place.path("benchmark-report")).unwrap();
    let benchmark = ["benchmark", "--model", "model", "--targets", "native", "--iterations", "1"];
    place.run(&benchmark).failed_with(&["benchmark-report", "a symbolic link"]);
    assert_eq!(fs::read_to_string(place.path("precious")).unwrap(), "precious");
    assert_eq!(
        place.names(),
        ["benchmark-report", "elsewhere", "model", "nowhere", "out.tmac2.bin", "precious"]
    );
    assert_eq!(names(&place.path("elsewhere")), [""; 0]);
}

#[test]
fn an_index_names_files_of_its_directory_only() {
    let place = Place::new();
    let model = place.path("model");
    folder(&model);
    fs::rename(model.join("model.safetensors"), place.path("x.safetensors")).unwrap();
    let absolute = place.path("x.safetensors");
    for target in ["../x.safetensors", absolute.to_str().unwrap(), "model/../../x.safetensors", "/dev/zero"] {
        let index = json!({"weight_map": {"model.embed_tokens.weight": target}}).to_string();
        fs::write(model.join("model.safetensors.index.json"), index).unwrap();
        place.run(&["info", "--model", "model"]).failed_in_one_line(&[target]);
    }
}

#[test]
fn other_parts_of_a_split_file_lie_beside_it() {
    let place = Place::new();
    fs::create_dir(place.path("model")).unwrap();
    let part = |number: usize| place.path(&format!("model/m-0000{number}-of-00002.gguf"));
    fs::write(part(1), include_bytes!("../../../fuzz/seeds/gguf/llama")).unwrap();
    fs::write(place.path("secret"), "GGUF").unwrap();
    symlink("../secret", part(2)).unwrap();
    let model = part(1);
    place
        .run(&["info", "--model", model.to_str().unwrap()])
        .failed_in_one_line(&["m-00002", "secret", "copy"]);
}
