//! A download in the cache is verified before it is converted, and downloaded again where it is damaged.

use crate::hub::{NAME, WEIGHTS, model_folder, serve_repository, tiny_checkpoint, tiny_config};
use crate::program::{Outcome, Place, names, run};
use crate::server::Server;
use std::fs;
use std::path::Path;

fn server() -> Server {
    let (config, tokenizer) = (tiny_config(), edgellm::testing::byte_tokenizer());
    Server::start(move |request| {
        let small = [("config.json", config.as_bytes()), ("tokenizer.json", &tokenizer[..])];
        serve_repository(request, &tiny_checkpoint(), &small)
    })
}

fn on_hub(place: &Place, server: &Server, args: &[&str]) -> Outcome {
    run(place.command(args).env("HF_ENDPOINT", &server.url))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found_and_its_file_downloaded_again() {
    let (place, server) = (Place::new(), server());
    on_hub(&place, &server, &["pull", NAME]).succeeded();
    let source = model_folder(&place).join("source");
    let sound = |name: &str| fs::read(source.join(name)).unwrap();
    let contents = [WEIGHTS, "config.json", "tokenizer.json"].map(|name| (name, sound(name)));
    let weights = contents[0].1.len();
    let use_it: [&[&str]; 3] =
        [&["info", "--model", NAME], &["pull", NAME], &["info", "--model", source.to_str().unwrap()]];
    // In the header, in the middle, at the end; in each of the files.
    let damages = [
        (WEIGHTS, 20),
        (WEIGHTS, weights / 2),
        (WEIGHTS, weights - 1),
        ("config.json", 5),
        ("tokenizer.json", 40),
    ];
    for (index, (name, at)) in damages.into_iter().enumerate() {
        flip(&source.join(name), at);
        let before = server.requests().len();
        let outcome = on_hub(&place, &server, use_it[index % 3]).succeeded();
        let notes =
            outcome.stderr.lines().filter(|line| line.contains("is damaged; downloading it again")).count();
        assert_eq!(notes, 1, "{name} at {at}: {outcome:#?}");
        for (name, sound) in &contents {
            assert_eq!(fs::read(source.join(name)).unwrap(), *sound, "{name}");
        }
        let later = server.requests().split_off(before);
        let files = later.iter().filter(|request| request.path.contains("/resolve/")).count();
        assert_eq!(files, 1, "what is sound is not downloaded again");
        // What was made from the sound download is all right.
        names(&model_folder(&place)).iter().filter(|name| name.ends_with(".bin")).for_each(|name| {
            fs::remove_file(model_folder(&place).join(name)).unwrap();
        });
    }
    // Cut off, gone, and without its checksums.
    fs::write(source.join(WEIGHTS), &contents[0].1[..weights - 1]).unwrap();
    assert!(on_hub(&place, &server, use_it[0]).succeeded().stderr.contains("is damaged"));
    fs::remove_file(source.join("tokenizer.json")).unwrap();
    assert!(on_hub(&place, &server, use_it[1]).succeeded().stderr.contains("is damaged"));
    fs::remove_file(source.join("checksums.txt")).unwrap();
    flip(&source.join(WEIGHTS), weights / 3);
    assert!(on_hub(&place, &server, use_it[1]).succeeded().stderr.contains("checksums are missing"));
    assert_eq!(fs::read(source.join(WEIGHTS)).unwrap(), contents[0].1);
}

#[test]
fn a_damaged_download_is_not_converted_when_the_hub_is_away() {
    let (place, server) = (Place::new(), server());
    on_hub(&place, &server, &["pull", NAME]).succeeded();
    let source = model_folder(&place).join("source");
    let length = fs::metadata(source.join(WEIGHTS)).unwrap().len() as usize;
    flip(&source.join(WEIGHTS), length - 100);
    let away = Server::start(|_| crate::server::Reply::new("404 Not Found", ""));
    let quantize =
        ["quantize", "--input", source.to_str().unwrap(), "--format", "int8", "--output", "out.tmac2.bin"];
    on_hub(&place, &away, &quantize).failed_with(&["no such repository"]);
    on_hub(&place, &away, &["info", "--model", NAME]).failed_with(&["no such repository"]);
    assert!(
        place.names().is_empty() && !names(&model_folder(&place)).iter().any(|name| name.ends_with(".bin"))
    );
    on_hub(&place, &server, &["info", "--model", NAME]).succeeded();
}
