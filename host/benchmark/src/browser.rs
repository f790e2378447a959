//! Engines in a browser as workers: headless Chromium with a page that fetches prompts and posts the results.
//!
//! A small server on the loopback interface serves the engine and the model to the page and receives its answers, so
//! nothing has to drive the browser from outside.

mod chromium;
mod server;

pub use chromium::find as find_chromium;

use crate::hash::Hash;
use crate::native::answer_lines;
use crate::protocol::{Answer, Done, Hello, Request};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Longest wait for the page to load the model, and for one answer.
const LIMIT: Duration = Duration::from_secs(300);
/// How often a wait checks that the browser is still running.
const POLL: Duration = Duration::from_millis(200);

/// The engine of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The package `edgellm-web`, built by `scripts/build-web`.
    EdgeLlm,
    /// llama.cpp as `@wllama/wllama`, from npm.
    Wllama,
}

impl Engine {
    /// The page's module.
    fn module(self) -> &'static str {
        match self {
            Engine::EdgeLlm => include_str!("browser/edgellm.js"),
            Engine::Wllama => include_str!("browser/wllama.js"),
        }
    }

    /// A file that must be in the package's directory.
    fn entry(self) -> &'static str {
        match self {
            Engine::EdgeLlm => "index.js",
            Engine::Wllama => "esm/index.js",
        }
    }

    /// How to get the package.
    fn advice(self) -> &'static str {
        match self {
            Engine::EdgeLlm => "run scripts/build-web",
            Engine::Wllama => "run npm ci --prefix benches/browser_speed",
        }
    }
}

/// What the page runs.
#[derive(Clone, Debug)]
pub struct Page {
    /// Which engine.
    pub engine: Engine,
    /// Its package's directory.
    pub package: PathBuf,
    /// The model file.
    pub model: PathBuf,
    /// Threads.
    pub threads: usize,
    /// Tokens of context.
    pub context: usize,
    /// The browser's program; `None` to search the PATH.
    pub chromium: Option<PathBuf>,
}

/// What the page posts.
#[derive(Debug)]
enum Posted {
    /// It is ready, or why not.
    Hello(Hello),
    /// The result of a prompt.
    Answer(Answer),
}

/// Speaks the benchmark's protocol for the page until `input` ends.
///
/// # Errors
/// If input, output or the server's socket fail. Missing parts and failures in the page are reported by the protocol.
pub fn serve(page: &Page, input: impl BufRead, output: impl Write) -> io::Result<()> {
    let absent = |reason: String, output| {
        answer_lines(io::empty(), output, &Hello::Absent(reason), |_| Err(String::new()))
    };
    let Some(program) = page.chromium.clone().or_else(chromium::find) else {
        return absent(
            "no Chromium: install it (Debian: apt-get install chromium), or name it with --chromium".into(),
            output,
        );
    };
    if !page.package.join(page.engine.entry()).is_file() {
        let (folder, advice) = (page.package.display(), page.engine.advice());
        return absent(format!("no package in {folder}: {advice}"), output);
    }
    let server = server::Server::start(page)?;
    let mut browser = match chromium::Browser::start(&program, &server.url()) {
        Ok(browser) => browser,
        Err(error) => return absent(format!("cannot start {}: {error}", program.display()), output),
    };
    let mut posted = || -> Result<Posted, String> {
        for _ in 0..LIMIT.as_millis() / POLL.as_millis() {
            match server.posted.recv_timeout(POLL) {
                Ok(posted) => return Ok(posted),
                Err(RecvTimeoutError::Disconnected) => return Err("the page's server ended".to_string()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(status) = browser.ended() {
                return Err(format!("the browser ended ({status})"));
            }
        }
        Err(format!("no response from the page within {} seconds", LIMIT.as_secs()))
    };
    let hello = match posted() {
        Ok(Posted::Hello(hello)) => hello,
        Ok(Posted::Answer(_)) => Hello::Absent("the page answered before it got a prompt".to_string()),
        Err(reason) => Hello::Absent(reason),
    };
    answer_lines(input, output, &hello, |request: &Request| -> Result<Done, String> {
        server.ask(request.clone());
        match posted()? {
            Posted::Answer(Answer::Done(mut done)) => {
                // The page cannot hash that many bytes as it goes, so it posts them.
                let logits = server.take_logits();
                done.logits_hash = (request.hash && !logits.is_empty()).then(|| {
                    let mut hash = Hash::default();
                    hash.bytes(&logits);
                    hash.hex()
                });
                Ok(done)
            }
            Posted::Answer(Answer::Failed(reason)) => Err(reason),
            Posted::Hello(_) => Err("the page was reloaded".to_string()),
        }
    })
}
