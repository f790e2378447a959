//! The hub's client against a server that plays the hub.

use crate::program::{Outcome, Place, names, run};
use crate::server::{Reply, Request, Server};
use edgellm::testing::within;
use edgellm_quantize::RULES_VERSION;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const NAME: &str = "smollm-135m";
pub(crate) const REPOSITORY: &str = "HuggingFaceTB/SmolLM-135M";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const WEIGHTS: &str = "model.safetensors";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn small_files() -> [(&'static str, &'static [u8]); 3] {
    [("config.json", b"{\"a\": 1}"), ("tokenizer.json", b"{\"b\": 2}"), ("README.md", b"read me")]
}

/// The hub, with `special` answering first.
fn hub(special: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        special(request).unwrap_or_else(|| serve_repository(request, &weights(), &small_files()))
    })
}

/// What the hub answers if the repository holds these files.
pub(crate) fn serve_repository(request: &Request, weights: &[u8], small: &[(&str, &[u8])]) -> Reply {
    let path = request.path.as_str();
    if path == format!("/api/models/{REPOSITORY}/revision/main") {
        return Reply::new("200 OK", json!({"sha": COMMIT, "id": REPOSITORY}).to_string());
    }
    if path == format!("/api/models/{REPOSITORY}/tree/{COMMIT}") {
        let mut tree = vec![json!({
            "type": "file", "path": WEIGHTS, "size": weights.len(), "oid": "of the pointer",
            "lfs": {"oid": hex(&Sha256::digest(weights)), "size": weights.len(), "pointerSize": 134},
        })];
        tree.extend(small.iter().map(|(name, bytes)| {
            let git = Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
            json!({"type": "file", "path": name, "size": bytes.len(), "oid": hex(&git)})
        }));
        tree.push(json!({"type": "directory", "path": "onnx", "size": 0, "oid": "x"}));
        return Reply::new("200 OK", serde_json::Value::from(tree).to_string());
    }
    let prefix = format!("/{REPOSITORY}/resolve/{COMMIT}/");
    match path.strip_prefix(prefix.as_str()) {
        // As the hub does: large files are elsewhere.
        Some(WEIGHTS) => Reply::new("302 Found", "").header("Location", "/elsewhere/model.safetensors"),
        Some(name) => match small.iter().find(|(file, _)| *file == name) {
            Some((_, bytes)) => Reply::file(request, bytes),
            None => Reply::new("404 Not Found", "no such file"),
        },
        None if path == "/elsewhere/model.safetensors" => Reply::file(request, weights),
        None => Reply::new("404 Not Found", "no such page"),
    }
}

fn is_weights(request: &Request) -> bool {
    request.path == "/elsewhere/model.safetensors"
}

pub(crate) fn pull(place: &Place, server: &Server) -> Outcome {
    run(place.command(&["pull", NAME]).env("HF_ENDPOINT", &server.url))
}

pub(crate) fn model_folder(place: &Place) -> PathBuf {
    place.cache().join("models").join(NAME)
}

#[track_caller]
fn assert_complete(place: &Place) {
    let source = model_folder(place).join("source");
    assert_eq!(names(&source), ["checksums.txt", "config.json", WEIGHTS, "tokenizer.json"]);
    assert_eq!(fs::read(source.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(names(&model_folder(place)), ["source"], "nothing half-done is left");
}

#[test]
fn a_model_is_pulled_once_and_removed() {
    let (place, server) = (Place::new(), hub(|_| None));
    let printed = pull(&place, &server).succeeded().stdout;
    assert_eq!(printed.trim(), model_folder(&place).join("source").to_str().unwrap());
    assert_complete(&place);
    let requests = server.requests().len();
    pull(&place, &server).succeeded();
    assert_eq!(server.requests().len(), requests, "what is there is not asked for again");

    let list = place.run(&["list", "--json"]).succeeded().stdout;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let row = list.iter().find(|row| row["name"] == NAME).unwrap();
    assert_eq!(row["format"], "safetensors");
    assert_eq!(row["path"], model_folder(&place).join("source").to_str().unwrap());

    place.run(&["rm", NAME]).succeeded();
    assert!(!model_folder(&place).exists());
    place.run(&["rm", NAME]).failed_in_one_line(&["is not in the cache"]);
}

#[test]
fn a_dropped_connection_is_resumed_by_range() {
    let drops = AtomicUsize::new(0);
    let server = hub(move |request| {
        let drop = is_weights(request) && drops.fetch_add(1, Ordering::SeqCst) < 2;
        drop.then(|| Reply::file(request, &weights()).cut(100_000))
    });
    let place = Place::new();
    pull(&place, &server).succeeded();
    assert_complete(&place);
    let ranges: Vec<_> =
        server.requests().into_iter().filter(is_weights).map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some(100_000), Some(200_000)]);
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let tries = AtomicUsize::new(0);
    let server = hub(move |request| {
        is_weights(request).then(|| {
            let reply = Reply::new("200 OK", weights());
            if tries.fetch_add(1, Ordering::SeqCst) == 0 { reply.cut(100_000) } else { reply }
        })
    });
    let place = Place::new();
    pull(&place, &server).succeeded();
    assert_complete(&place);
}

#[test]
fn an_interrupted_pull_goes_on_where_it_stopped() {
    let broken = Arc::new(AtomicUsize::new(1));
    let flag = Arc::clone(&broken);
    let server = hub(move |request| {
        if !is_weights(request) || flag.load(Ordering::SeqCst) == 0 {
            return None;
        }
        // The first time half of it, then nothing at all.
        Some(match request.range {
            None => Reply::file(request, &weights()).cut(123_456),
            Some(_) => Reply::file(request, &weights()).cut(0),
        })
    });
    let place = Place::new();
    pull(&place, &server).failed_with(&["cannot download", "after 5 attempts", "run this again"]);
    assert!(!model_folder(&place).join("source").exists());
    broken.store(0, Ordering::SeqCst);
    let before = server.requests().len();
    pull(&place, &server).succeeded();
    assert_complete(&place);
    let later = server.requests().split_off(before);
    let ranges: Vec<_> = later.iter().filter(|r| is_weights(r)).map(|request| request.range).collect();
    assert_eq!(ranges, [Some(123_456)]);
    assert!(!later.iter().any(|request| request.path.ends_with("config.json")), "small files were there");
}

#[test]
fn a_wrong_checksum_is_refused_and_the_file_removed() {
    for (name, kind) in [(WEIGHTS, "sha256"), ("config.json", "git blob")] {
        let server = hub(move |request| {
            let wanted = request.path.ends_with(name) && (name != WEIGHTS || is_weights(request));
            wanted.then(|| {
                let mut bytes = if name == WEIGHTS { weights() } else { small_files()[0].1.to_vec() };
                bytes[5] ^= 1;
                Reply::file(request, &bytes)
            })
        });
        let place = Place::new();
        pull(&place, &server).failed_with(&[name, kind, "is damaged"]);
        let left = names(&model_folder(&place).join("partial"));
        assert!(!left.iter().any(|left| left.starts_with(name)), "{left:?}");
        assert!(!model_folder(&place).join("source").exists());
    }
}

#[test]
fn a_longer_file_is_refused() {
    let server = hub(|request| {
        is_weights(request).then(|| Reply::new("200 OK", [weights(), vec![0; 70_000]].concat()))
    });
    let place = Place::new();
    pull(&place, &server).failed_with(&[WEIGHTS, "instead of 300000"]);
    assert!(!names(&model_folder(&place).join("partial")).contains(&format!("{WEIGHTS}.part")));
}

#[test]
fn a_busy_server_is_asked_again() {
    let tries = AtomicUsize::new(0);
    let server = hub(move |request| {
        let busy = request.path.contains("/tree/") && tries.fetch_add(1, Ordering::SeqCst) == 0;
        busy.then(|| Reply::new("503 Service Unavailable", "").header("Retry-After", "0"))
    });
    let place = Place::new();
    pull(&place, &server).succeeded();
    assert_complete(&place);
}

#[test]
fn a_silent_server_is_given_up_and_asked_for_the_rest() {
    let tries = AtomicUsize::new(0);
    let server = hub(move |request| {
        let silent = is_weights(request) && tries.fetch_add(1, Ordering::SeqCst) == 0;
        silent.then(|| Reply::file(request, &weights()).cut(50_000).silence(Duration::from_secs(20)))
    });
    let place = Place::new();
    let mut command = place.command(&["pull", NAME]);
    let started = std::time::Instant::now();
    run(command.env("HF_ENDPOINT", &server.url).env("HF_HUB_DOWNLOAD_TIMEOUT", "1")).succeeded();
    assert!(started.elapsed() < within(Duration::from_secs(15)));
    assert_complete(&place);
}

#[test]
fn refusals_say_what_to_do() {
    let everything = |status: &'static str, code: &'static str| {
        hub(move |_| Some(Reply::new(status, "no").header("X-Error-Code", code)))
    };
    let place = Place::new();
    pull(&place, &everything("401 Unauthorized", "GatedRepo"))
        .failed_with(&[REPOSITORY, "gated", "licence", "HF_TOKEN"]);
    pull(&place, &everything("401 Unauthorized", "RepoNotFound"))
        .failed_with(&[REPOSITORY, "no such repository"]);
    pull(&place, &everything("403 Forbidden", "GatedRepo")).failed_with(&["no access yet", "licence"]);
    pull(&place, &everything("404 Not Found", "")).failed_with(&[REPOSITORY, "no such repository"]);
    pull(&place, &hub(|_| Some(Reply::new("200 OK", "<html>"))))
        .failed_with(&["does not match the hub's API"]);
    let server = everything("401 Unauthorized", "GatedRepo");
    let mut command = place.command(&["pull", NAME]);
    run(command.env("HF_ENDPOINT", &server.url).env("HF_TOKEN", "wrong"))
        .failed_with(&["did not accept the token"]);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let elsewhere = Server::start(|request| Reply::file(request, &weights()));
    let target = format!("{}/other", elsewhere.url);
    let server = hub(move |request| {
        let weights = request.path.ends_with(WEIGHTS);
        weights.then(|| Reply::new("302 Found", "").header("Location", target.clone()))
    });
    let place = Place::new();
    // Another name for the same machine is another host.
    let endpoint = server.url.replace("127.0.0.1", "localhost");
    run(place.command(&["pull", NAME]).env("HF_ENDPOINT", endpoint).env("HF_TOKEN", "secret")).succeeded();
    assert_complete(&place);
    assert!(
        server.requests().iter().all(|request| request.authorization.as_deref() == Some("Bearer secret"))
    );
    assert!(elsewhere.requests().iter().all(|request| request.authorization.is_none()));
}

#[test]
fn two_processes_share_one_download() {
    let server = hub(|request| {
        is_weights(request).then(|| Reply::file(request, &weights()).silence(Duration::from_millis(300)))
    });
    let place = Place::new();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| pull(&place, &server))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for outcome in outcomes {
        outcome.succeeded();
    }
    assert_complete(&place);
    assert_eq!(server.requests_for("/elsewhere/model.safetensors").len(), 1);
}

#[cfg(unix)]
#[test]
fn an_interrupted_process_leaves_what_the_next_one_can_use() {
    let server = hub(|request| {
        let stall = is_weights(request) && request.range.is_none();
        stall.then(|| Reply::file(request, &weights()).cut(80_000).silence(Duration::from_secs(5)))
    });
    let place = Place::new();
    let mut child = place.command(&["pull", NAME]).env("HF_ENDPOINT", &server.url).spawn().unwrap();
    let part = model_folder(&place).join("partial").join(format!("{WEIGHTS}.part"));
    for _ in 0..100 {
        if part.metadata().is_ok_and(|found| found.len() >= 80_000) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!model_folder(&place).join("source").exists());
    pull(&place, &server).succeeded();
    assert_complete(&place);
}

/// `config.json` of a very small Llama with byte tokens.
pub(crate) fn tiny_config() -> String {
    json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 257, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
    })
    .to_string()
}

/// Its checkpoint. The embedding comes first.
pub(crate) fn tiny_checkpoint() -> Vec<u8> {
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let tensors = [
        ("model.embed_tokens.weight".to_string(), vec![257, 64]),
        ("model.norm.weight".to_string(), vec![64]),
        (layer("input_layernorm"), vec![64]),
        (layer("post_attention_layernorm"), vec![64]),
        (layer("self_attn.q_proj"), vec![64, 64]),
        (layer("self_attn.k_proj"), vec![32, 64]),
        (layer("self_attn.v_proj"), vec![32, 64]),
        (layer("self_attn.o_proj"), vec![64, 64]),
        (layer("mlp.gate_proj"), vec![96, 64]),
        (layer("mlp.up_proj"), vec![96, 64]),
        (layer("mlp.down_proj"), vec![64, 96]),
    ];
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        for index in 0..shape.iter().product::<u32>() {
            let value = (index.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0 - 0.5;
            data.extend(value.to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    }
    let header = serde_json::Value::from(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

#[test]
fn a_name_is_downloaded_and_converted_on_first_use() {
    let (config, tokenizer) = (tiny_config(), edgellm::testing::byte_tokenizer());
    let server = Server::start(move |request| {
        let small = [("config.json", config.as_bytes()), ("tokenizer.json", &tokenizer[..])];
        serve_repository(request, &tiny_checkpoint(), &small)
    });
    let place = Place::new();
    let generate = |args: &[&str]| {
        let common = ["generate", "--model", NAME, "--prompt", "abc", "-n", "5", "--json"];
        run(place.command(&[&common[..], args].concat()).env("HF_ENDPOINT", &server.url)).succeeded()
    };
    let first = generate(&[]);
    assert!(first.stderr.contains("downloading") && first.stderr.contains("converting"), "{first:#?}");
    let requests = server.requests().len();
    let second = generate(&[]);
    assert_eq!(second.stderr, "", "the second use finds everything");
    let ids = |outcome: &Outcome| {
        serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap()["token_ids"].clone()
    };
    assert_eq!(ids(&first), ids(&second));
    generate(&["--format", "int8"]);
    assert_eq!(server.requests().len(), requests, "another format is converted from the same download");
    let file = |format: &str| format!("{NAME}-v{RULES_VERSION}-{format}.tmac2.bin");
    let made = [file("auto"), file("int8"), "source".to_string()];
    assert_eq!(names(&model_folder(&place)), made);
    // A model file of another version is converted again.
    fs::write(model_folder(&place).join(file("auto")), "TMAC2BIN of old").unwrap();
    assert_eq!(ids(&generate(&[])), ids(&first));
    // So is what was converted by other rules, which then goes.
    let old = model_folder(&place).join(format!("{NAME}-auto.tmac2.bin"));
    fs::rename(model_folder(&place).join(file("auto")), old).unwrap();
    let again = generate(&[]);
    assert!(again.stderr.contains("converting") && !again.stderr.contains("downloading"), "{again:#?}");
    assert_eq!(names(&model_folder(&place)), made);
    place.run(&["rm", NAME]).succeeded();
    assert!(!model_folder(&place).exists());
}
