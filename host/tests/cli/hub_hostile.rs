//! A hub that lies, talks without end, or sends the program elsewhere.

use crate::hub::{COMMIT, NAME, REPOSITORY, WEIGHTS, model_folder, pull, serve_repository};
use crate::program::{Place, names, run};
use crate::server::{Reply, Request, Server};
use edgellm::testing::within;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The hub, with its listing changed.
fn listing(change: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let reply = honest(request);
        if !request.path.contains("/tree/") {
            return reply;
        }
        let mut tree: Vec<Value> = serde_json::from_slice(reply.body()).unwrap();
        change(&mut tree);
        Reply::new("200 OK", Value::from(tree).to_string())
    })
}

fn honest(request: &Request) -> Reply {
    serve_repository(request, b"weights", &[("config.json", b"{}"), ("tokenizer.json", b"{}")])
}

#[test]
fn names_that_lead_elsewhere_are_not_downloaded() {
    let server = listing(|tree| {
        for path in [
            "../model-1.safetensors",
            "model-/../../../x.safetensors",
            "/tmp/model-1.safetensors",
            "model-\n\u{1b}[31m.safetensors",
            "model-?x.safetensors",
            "a/config.json",
        ] {
            tree.insert(0, json!({"type": "file", "path": path, "size": 7, "oid": "0"}));
        }
        let twice = tree.iter().find(|entry| entry["path"] == "config.json").unwrap().clone();
        tree.push(twice);
    });
    let place = Place::new();
    pull(&place, &server).succeeded();
    assert_eq!(
        names(&model_folder(&place).join("source")),
        ["checksums.txt", "config.json", WEIGHTS, "tokenizer.json"]
    );
    let files = server.requests().into_iter().filter(|request| request.path.contains("/resolve/")).count();
    assert_eq!(files, 3);
}

#[test]
fn sizes_beyond_the_catalogues_are_refused() {
    for size in [u64::MAX, u64::MAX / 2 + 1, 1 << 40] {
        let server = listing(move |tree| {
            for entry in tree {
                entry["size"] = size.into();
                if entry["lfs"].is_object() {
                    entry["lfs"]["size"] = size.into();
                }
            }
        });
        let place = Place::new();
        pull(&place, &server).failed_with(&[REPOSITORY, "more than", "for this model"]);
        assert!(server.requests_for("config.json").is_empty());
    }
}

#[test]
fn a_listing_without_end_is_given_up() {
    // Too long, and too slow.
    let server = Server::start(|request| match request.path.contains("/tree/") {
        true => Reply::new("200 OK", [b"[".to_vec(), vec![b' '; 9 << 20]].concat()),
        false => honest(request),
    });
    let place = Place::new();
    pull(&place, &server).failed_with(&["the response has more than 8388608 bytes"]);
    let server = Server::start(|request| match request.path.contains("/tree/") {
        true => Reply::new("200 OK", vec![b' '; 1000]).slow(Duration::from_millis(100)),
        false => honest(request),
    });
    let start = Instant::now();
    let mut command = place.command(&["pull", NAME]);
    run(command.env("HF_ENDPOINT", &server.url).env("HF_HUB_DOWNLOAD_TIMEOUT", "1"))
        .failed_with(&["the response does not end"]);
    assert!(start.elapsed() < within(Duration::from_secs(20)));
}

#[test]
fn redirects_lead_to_servers_only() {
    for target in ["file:///etc/passwd", "ftp://127.0.0.1/x", "//", "javascript:x"] {
        let server = Server::start(move |request| match request.path.contains("/resolve/") {
            true => Reply::new("302 Found", "").header("Location", target),
            false => honest(request),
        });
        let place = Place::new();
        let outcome = pull(&place, &server);
        assert_eq!(outcome.code, Some(1), "{outcome:#?}");
        assert!(!model_folder(&place).join("source").exists());
    }
    // In a circle.
    let server = Server::start(|request| match request.path.contains("/resolve/") {
        true => Reply::new("302 Found", "").header("Location", request.path.clone()),
        false => honest(request),
    });
    pull(&Place::new(), &server).failed_with(&["redirect"]);
}

#[test]
fn what_the_hub_writes_does_not_reach_the_terminal() {
    let server = Server::start(|request| match request.path.contains("/revision/") {
        true => Reply::new(
            "200 OK",
            json!({"sha": format!("{COMMIT}\u{1b}]0;x\u{7}\u{9b}31m\u{202e}")}).to_string(),
        ),
        false => honest(request),
    });
    let outcome = pull(&Place::new(), &server).failed_with(&["which is not a commit"]);
    assert!(outcome.stderr.chars().all(|c| c == '\n' || edgellm::text::is_printable(c)), "{outcome:?}");
}
