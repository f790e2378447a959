//! Any repository of the hub, by its name: which files are taken, that they stay, and what is refused.

use crate::hub::{tiny_checkpoint, tiny_config};
use crate::program::{Outcome, Place, names, run};
use crate::server::{Reply, Request, Server};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const REPOSITORY: &str = "maker/Tiny-GGUF";
const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
const GGUF: &[u8] = include_bytes!("../../../fuzz/seeds/gguf/llama");

/// What a branch of the repository is at.
#[derive(Clone)]
struct State {
    commit: &'static str,
    files: Vec<(String, Vec<u8>)>,
    /// Files on a page of the listing.
    page: usize,
}

fn state(commit: &'static str, files: &[(&str, &[u8])]) -> State {
    let files = files.iter().map(|(name, bytes)| ((*name).to_string(), bytes.to_vec())).collect();
    State { commit, files, page: usize::MAX }
}

fn named(names: &[&str]) -> State {
    state(FIRST, &names.iter().map(|name| (*name, name.as_bytes())).collect::<Vec<_>>())
}

fn answer(request: &Request, host: &str, state: &State) -> Reply {
    let State { commit, files, page } = state;
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let known =
        ["main", "refs%2Fpr%2F1", commit].map(|name| format!("/api/models/{REPOSITORY}/revision/{name}"));
    if known.iter().any(|known| known == path) {
        let about = json!({"sha": commit, "cardData": {"license": "apache-2.0"}, "tags": ["gguf"]});
        return Reply::new("200 OK", about.to_string());
    }
    if path.starts_with(&format!("/api/models/{REPOSITORY}/revision/")) {
        return Reply::new("404 Not Found", "").header("X-Error-Code", "RevisionNotFound");
    }
    if path == format!("/api/models/{REPOSITORY}/tree/{commit}") {
        // Without that, files in directories are left out.
        let deep = query.starts_with("recursive=true");
        let start = query.split_once("cursor=").map_or(0, |(_, cursor)| cursor.parse().unwrap());
        let entry = |(name, bytes): &(String, Vec<u8>)| {
            let oid: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let lfs = json!({"oid": oid, "size": bytes.len(), "pointerSize": 134});
            json!({"type": "file", "path": name, "size": bytes.len(), "oid": "0", "lfs": lfs})
        };
        let tree: Vec<Value> = files
            .iter()
            .filter(|(name, _)| deep || !name.contains('/'))
            .skip(start)
            .take(if deep { *page } else { usize::MAX })
            .map(entry)
            .collect();
        let reply = Reply::new("200 OK", Value::from(tree).to_string());
        return match start.saturating_add(*page) {
            next if deep && next < files.len() => {
                let link = format!("<{host}{path}?recursive=true&cursor={next}>; rel=\"next\"");
                reply.header("Link", link)
            }
            _ => reply,
        };
    }
    let name = path.strip_prefix(&format!("/{REPOSITORY}/resolve/{commit}/"));
    match files.iter().find(|(file, _)| Some(file.as_str()) == name) {
        Some((_, bytes)) => Reply::file(request, bytes),
        None => Reply::new("404 Not Found", "").header("X-Error-Code", "EntryNotFound"),
    }
}

/// The hub, and its state, which a test can change.
fn hub(state: State) -> (Server, Arc<Mutex<State>>) {
    let (state, host) = (Arc::new(Mutex::new(state)), Arc::new(Mutex::new(String::new())));
    let (now, at) = (Arc::clone(&state), Arc::clone(&host));
    let server = Server::start(move |request| answer(request, &at.lock().unwrap(), &now.lock().unwrap()));
    host.lock().unwrap().clone_from(&server.url);
    (server, state)
}

fn on_hub(place: &Place, server: &Server, args: &[&str]) -> Outcome {
    run(place.command(args).env("HF_ENDPOINT", &server.url))
}

fn source(place: &Place, name: &str) -> PathBuf {
    place.cache().join("models").join(name).join("source")
}

#[test]
fn the_right_files_are_downloaded() {
    let all = [
        "BF16/tiny-BF16-00001-of-00002.gguf",
        "BF16/tiny-BF16-00002-of-00002.gguf",
        "README.md",
        "mmproj-F16.gguf",
        "tiny-IQ4_NL.gguf",
        "tiny-Q4_K_M.gguf",
        "tiny-Q8_0.gguf",
    ];
    let published = ["config.json", "model.safetensors", "tokenizer.json", "onnx/model.onnx"];
    let older = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "tokenizer.model",
    ];
    let cases: [(&[&str], &str, &[&str]); 10] = [
        (&all, "", &["tiny-Q4_K_M.gguf"]),
        (&all, ":q8_0", &["tiny-Q8_0.gguf"]),
        (&all, ":iq4_nl", &["tiny-IQ4_NL.gguf"]),
        (&all, ":BF16", &["tiny-BF16-00001-of-00002.gguf", "tiny-BF16-00002-of-00002.gguf"]),
        (&all, ":tiny-Q8_0.gguf@refs/pr/1", &["tiny-Q8_0.gguf"]),
        (&all[4..5], "", &["tiny-IQ4_NL.gguf"]),
        (&["tiny-Q8_0.gguf", "tiny-F16.gguf"], "", &["tiny-Q8_0.gguf"]),
        (&published, "", &["config.json", "model.safetensors", "tokenizer.json"]),
        (
            &[&published[..], &all].concat(),
            ":safetensors@1111111111111111111111111111111111111111",
            &published[..3],
        ),
        (&older, "", &older),
    ];
    for (files, choice, expected) in cases {
        let mut listed = named(files);
        listed.page = 3;
        let (server, _) = hub(listed);
        let (place, name) = (Place::new(), format!("hf:{REPOSITORY}{choice}"));
        let outcome = on_hub(&place, &server, &["pull", &name]).succeeded();
        assert!(
            outcome.stderr.contains(expected[0]) && outcome.stderr.contains("apache-2.0"),
            "{outcome:#?}"
        );
        let folder = PathBuf::from(outcome.stdout.trim());
        let folder = if folder.is_file() { folder.parent().unwrap().to_path_buf() } else { folder };
        let mut expected: Vec<&str> = [&["checksums.txt"], expected].concat();
        expected.sort_unstable();
        assert_eq!(names(&folder), expected, "{name}");
        for file in files.iter().filter(|path| expected.contains(&path.rsplit('/').next().unwrap())) {
            assert_eq!(fs::read(folder.join(file.rsplit('/').next().unwrap())).unwrap(), file.as_bytes());
        }
    }
}

#[test]
fn a_model_of_the_hub_is_used_listed_and_removed() {
    let (server, _) = hub(state(FIRST, &[("tiny-Q4_0.gguf", GGUF), ("mmproj-tiny-Q4_0.gguf", b"GGUF")]));
    let (place, name) = (Place::new(), format!("hf:{REPOSITORY}"));
    let info = on_hub(&place, &server, &["info", "--model", &name, "--json"]).succeeded();
    assert!(
        info.stderr.contains("tiny-Q4_0.gguf") && info.stderr.contains("licence: apache-2.0"),
        "{info:#?}"
    );
    assert_eq!(serde_json::from_str::<Value>(&info.stdout).unwrap()["name"], "Tiny-GGUF");
    let requests = server.requests().len();
    let output = ["--format", "int8", "--output", "out.tmac2.bin"];
    on_hub(&place, &server, &[&["quantize", "--input", &name][..], &output].concat()).succeeded();
    on_hub(&place, &server, &["tokenize", "--model", &name, "--text", "a"]).succeeded();
    assert_eq!(server.requests().len(), requests, "what is there is not asked for");
    // The download, given by its path, is the same model.
    let file = source(&place, "hf=maker,Tiny-GGUF").join("tiny-Q4_0.gguf");
    let again = place.run(&["info", "--model", file.to_str().unwrap()]).succeeded();
    assert_eq!(again.stderr, "", "it is converted already");

    let list = place.run(&["list", "--json"]).succeeded().stdout;
    let rows: Vec<Value> = serde_json::from_str::<Vec<Value>>(&list).unwrap();
    let rows: Vec<_> = rows.iter().filter(|row| row["name"] == *name).collect();
    assert_eq!(
        (rows.len(), rows[0]["format"].as_str()),
        (2, Some("gguf")),
        "the download, then what was made of it"
    );
    assert_eq!(rows[0]["path"], file.to_str().unwrap());
    assert_eq!(rows[0]["bytes"], GGUF.len());
    place.run(&["rm", &name]).succeeded();
    assert!(names(&place.cache().join("models")).is_empty());
    place.run(&["rm", &name]).failed_in_one_line(&["is not in the cache"]);
}

#[test]
fn published_weights_of_any_repository_run() {
    let tokenizer = edgellm::testing::byte_tokenizer();
    let (config, weights) = (tiny_config(), tiny_checkpoint());
    let files: [(&str, &[u8]); 3] =
        [("config.json", config.as_bytes()), ("tokenizer.json", &tokenizer), ("model.safetensors", &weights)];
    let (server, _) = hub(state(FIRST, &files));
    let (place, name) = (Place::new(), format!("hf:{REPOSITORY}"));
    let generate = ["generate", "--model", &name, "--prompt", "abc", "-n", "3", "--json"];
    on_hub(&place, &server, &generate).succeeded();
    // Without the hub.
    assert_eq!(place.run(&generate).succeeded().stderr, "");
}

#[test]
fn a_branch_that_moves_is_noticed_by_pull_alone() {
    let mut other = GGUF.to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    let (server, now) = hub(state(FIRST, &[("tiny-Q4_0.gguf", GGUF)]));
    let (place, name) = (Place::new(), format!("hf:{REPOSITORY}"));
    on_hub(&place, &server, &["info", "--model", &name]).succeeded();
    let folder = source(&place, "hf=maker,Tiny-GGUF");
    let file = folder.join("tiny-Q4_0.gguf");
    let made = || names(folder.parent().unwrap()).iter().filter(|name| name.ends_with(".bin")).count();
    assert!(
        fs::read_to_string(folder.join("checksums.txt")).unwrap().starts_with(&format!("commit {FIRST}\n"))
    );

    *now.lock().unwrap() = state(SECOND, &[("tiny-Q4_0.gguf", &other)]);
    on_hub(&place, &server, &["info", "--model", &name]).succeeded();
    assert_eq!((fs::read(&file).unwrap() == GGUF, made()), (true, 1), "uses keep to the commit");
    // A pull that fails leaves what is there.
    let failing = Server::start(|_| Reply::new("404 Not Found", ""));
    on_hub(&place, &failing, &["pull", &name]).failed_with(&["no such repository"]);
    assert_eq!((fs::read(&file).unwrap() == GGUF, made()), (true, 1));

    let moved = on_hub(&place, &server, &["pull", &name]).succeeded();
    assert!(moved.stderr.contains("has moved from 11111111 to 22222222"), "{moved:#?}");
    assert_eq!((fs::read(&file).unwrap() == other, made()), (true, 0), "it is to be converted again");
    let files = |server: &Server| server.requests_for(".gguf").len();
    let before = files(&server);
    assert_eq!(on_hub(&place, &server, &["pull", &name]).succeeded().stderr, "", "it is up to date");
    // Another commit with the same file.
    *now.lock().unwrap() = state(FIRST, &[("README.md", b"new"), ("tiny-Q4_0.gguf", &other)]);
    on_hub(&place, &server, &["pull", &name]).succeeded();
    assert_eq!(files(&server), before, "the file is not downloaded again");
    assert_eq!(fs::read(&file).unwrap(), other);
    // A commit does not move.
    let commit = format!("{name}@{FIRST}");
    on_hub(&place, &server, &["pull", &commit]).succeeded();
    let requests = server.requests().len();
    on_hub(&place, &server, &["pull", &commit]).succeeded();
    assert_eq!(server.requests().len(), requests);
}

#[test]
fn what_is_damaged_is_downloaded_again_in_the_same_state() {
    let (server, _) = hub(state(FIRST, &[("tiny-Q4_0.gguf", GGUF)]));
    let (place, name) = (Place::new(), format!("hf:{REPOSITORY}"));
    on_hub(&place, &server, &["pull", &name]).succeeded();
    let file = source(&place, "hf=maker,Tiny-GGUF").join("tiny-Q4_0.gguf");
    fs::write(&file, &GGUF[1..]).unwrap();
    let asked = server.requests_for("/revision/main").len();
    let outcome = on_hub(&place, &server, &["info", "--model", &name]).succeeded();
    assert!(outcome.stderr.contains("is damaged; downloading it again"), "{outcome:#?}");
    assert_eq!(fs::read(&file).unwrap(), GGUF);
    assert_eq!(server.requests_for("/revision/main").len(), asked, "main may have moved");
}

#[test]
fn what_is_not_there_is_refused_in_one_line() {
    let (server, _) = hub(named(&[
        "a-Q4_K_M.gguf",
        "a-Q8_0.gguf",
        "mmproj-F16.gguf",
        "../b-Q6_K.gguf",
        "c/../d-Q6_K.gguf",
    ]));
    let place = Place::new();
    let refused = |name: &str, words: &[&str]| {
        let name = name.replace('R', REPOSITORY);
        on_hub(&place, &server, &["pull", &name]).failed_in_one_line(words);
        on_hub(&place, &server, &["info", "--model", &name]).failed_in_one_line(words);
    };
    refused("hf:R:Q5_0", &[REPOSITORY, "no GGUF file for Q5_0; it has Q4_K_M, Q8_0"]);
    refused("hf:R:F16", &["no GGUF file for F16"]);
    refused("hf:R:Q6_K", &["no GGUF file for Q6_K; it has Q4_K_M, Q8_0"]);
    refused("hf:R:e.gguf", &["no GGUF file e.gguf; it has a-Q4_K_M.gguf, a-Q8_0.gguf"]);
    refused("hf:R@v9", &["no such revision"]);
    refused("hf:maker/other", &["maker/other", "no such repository"]);
    refused("hf:maker", &["is no name of a model of the hub", "hf:OWNER/REPO"]);
    refused("hf:R:../../x.gguf", &["the file must be a path"]);
    assert!(names(&place.cache().join("models")).iter().all(|name| !source(&place, name).exists()));
    let (server, _) = hub(named(&["README.md", "weights.pt"]));
    on_hub(&place, &server, &["pull", &format!("hf:{REPOSITORY}")])
        .failed_in_one_line(&["neither a GGUF file nor model.safetensors", "README.md, weights.pt"]);
    let gated = Server::start(|_| Reply::new("401 Unauthorized", "").header("X-Error-Code", "GatedRepo"));
    on_hub(&place, &gated, &["pull", &format!("hf:{REPOSITORY}")]).failed_in_one_line(&[
        REPOSITORY,
        "gated",
        "accept its licence",
        "access token",
        "HF_TOKEN",
    ]);
    // Without the prefix it is a path, as before.
    on_hub(&place, &server, &["info", "--model", REPOSITORY]).failed_in_one_line(&["there is no file"]);
}

#[test]
fn a_hub_that_lies_about_its_files_is_refused() {
    let place = Place::new();
    let name = format!("hf:{REPOSITORY}");
    let lying = |change: fn(&Request, Reply) -> Reply| {
        let (server, now) = hub(state(FIRST, &[("tiny-Q4_0.gguf", GGUF)]));
        let url = server.url;
        Server::start(move |request| change(request, answer(request, &url, &now.lock().unwrap())))
    };
    let wrong = lying(|request, reply| match request.path.ends_with(".gguf") {
        true => Reply::file(request, &GGUF.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()),
        false => reply,
    });
    on_hub(&place, &wrong, &["pull", &name]).failed_with(&["tiny-Q4_0.gguf", "sha256", "is damaged"]);
    let unchecked = lying(|request, reply| match request.path.contains("/tree/") {
        true => Reply::new("200 OK", r#"[{"type":"file","path":"t-Q4_0.gguf","size":9,"lfs":{"size":9}}]"#),
        false => reply,
    });
    on_hub(&place, &unchecked, &["pull", &name]).failed_with(&["states no checksum of t-Q4_0.gguf"]);
    let leading_away = lying(|request, reply| match request.path.contains("/tree/") {
        true => reply.header("Link", "<http://127.0.0.2:9/more>; rel=\"next\""),
        false => reply,
    });
    on_hub(&place, &leading_away, &["pull", &name]).failed_with(&["goes on at another address"]);
    assert!(!source(&place, "hf=maker,Tiny-GGUF").exists());
}
