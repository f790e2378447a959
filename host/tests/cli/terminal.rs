//! What models and files say does not control the terminal.
#![cfg(unix)]

use crate::program::{Place, folder, run};
use edgellm::testing::{recipes, seeded_chat_model};
use edgellm::text::is_printable;
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

/// A model that says anything, control characters included: its 256 tokens are the bytes, and all about as likely.
fn babbler(place: &Place) -> &'static str {
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    fs::write(place.path("m.tmac2.bin"), seeded_chat_model(recipes()[0], 5, Some(template)).unwrap())
        .unwrap();
    "m.tmac2.bin"
}

/// What a terminal gets from the program; `None` if there is no `script` to make one.
fn on_terminal(place: &Place, args: &[&str], input: &str) -> Option<String> {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<String> = args.iter().map(quoted).collect();
    let line = format!("printf %b '{input}' | {} {}", env!("CARGO_BIN_EXE_edgellm"), words.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"]);
    command.current_dir(place.path("")).env("EDGELLM_HOME", place.cache()).env("SHELL", "/bin/sh");
    // An open input, which says nothing.
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        println!("skipped: there is no `script` of util-linux");
        return None;
    };
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    // The terminal's own line ends.
    Some(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"))
}

fn controls(text: &str) -> Vec<char> {
    text.chars().filter(|&c| !matches!(c, '\n' | '\t') && !is_printable(c)).collect()
}

const GENERATE: [&str; 9] =
    ["generate", "--prompt", "a", "-n", "400", "--seed", "3", "--model", "m.tmac2.bin"];

#[test]
fn an_answer_on_a_terminal_has_no_control_characters() {
    let place = Place::new();
    babbler(&place);
    let piped = place.run(&GENERATE).succeeded();
    assert!(controls(&piped.stdout).contains(&'\u{1b}'), "the model says what it may: {:?}", piped.stdout);
    assert_eq!(controls(&piped.stderr), []);
    let Some(shown) = on_terminal(&place, &GENERATE, "") else { return };
    assert_eq!(controls(&shown), [], "{shown:?}");
    assert!(shown.contains("tokens per second"), "{shown:?}");
    let raw = on_terminal(&place, &[&GENERATE[..], &["--raw-output"]].concat(), "").unwrap();
    assert!(controls(&raw).contains(&'\u{1b}'), "{raw:?}");
    let outcome = place.run(&[&GENERATE[..], &["--raw-output", "--json"]].concat());
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    // JSON has them escaped, and loses none.
    let report: Value =
        serde_json::from_str(&place.run(&[&GENERATE[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(report["text"].as_str().unwrap().trim_end(), piped.stdout.trim_end());
}

#[test]
fn neither_has_a_chat() {
    let place = Place::new();
    let model = babbler(&place);
    let args = ["chat", "--model", model, "-n", "300", "--seed", "3"];
    let Some(shown) = on_terminal(&place, &args, "hello\\n/\u{1b}[31m\\n") else { return };
    assert_eq!(controls(&shown), [], "{shown:?}");
    assert!(shown.contains("there is no command"), "{shown:?}");
    let raw = on_terminal(&place, &[&args[..], &["--raw-output"]].concat(), "hello\\n").unwrap();
    assert!(!controls(&raw).is_empty(), "{raw:?}");
}

#[test]
fn names_are_escaped_wherever_they_go() {
    let place = Place::new();
    let evil = "evil\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\rname";
    folder(&place.path(evil));
    for args in
        [&["info", "--model", evil][..], &["info", "--json", "--model", evil], &["list"], &["list", "--json"]]
    {
        let outcome = place.run(args).succeeded();
        assert!(outcome.stdout.contains("evil"), "{outcome:#?}");
        assert_eq!(controls(&outcome.stdout), [], "{outcome:?}");
        assert_eq!(controls(&outcome.stderr), [], "{outcome:?}");
    }
    // In errors, and in those of the command line itself.
    for args in
        [&["info", "--model", "no/\u{1b}[2J\u{9b}.gguf"][..], &["info", "--\u{1b}[2J\u{202e}"], &["\u{9b}2J"]]
    {
        let outcome = place.run(args);
        assert_ne!(outcome.code, Some(0));
        assert_eq!(controls(&outcome.stderr), [], "{outcome:?}");
    }
    // A config that says what is wrong with it.
    fs::write(place.path(evil).join("config.json"), "{\"model_type\": \"\\u001b[31m\\u202eevil\"}").unwrap();
    let outcome = place.run(&["info", "--model", evil]).failed_with(&["evil"]);
    assert_eq!(controls(&outcome.stderr), [], "{outcome:?}");
}

#[test]
fn long_names_are_cut() {
    let place = Place::new();
    // The name inside counts, as that of the file says nothing.
    let (mut gguf, long) = (include_bytes!("../../../fuzz/seeds/gguf/llama").to_vec(), 1 << 20);
    let key = b"general.name";
    let at = gguf.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    let length = u64::from_le_bytes(gguf[at..at + 8].try_into().unwrap());
    // A multiple of the alignment longer.
    gguf[at..at + 8].copy_from_slice(&(length + long).to_le_bytes());
    gguf.splice(at + 8..at + 8, "\u{1b}[1m\n".bytes().cycle().take(long as usize));
    fs::write(place.path("model.gguf"), gguf).unwrap();
    let outcome = place.run(&["info", "--model", "model.gguf"]).succeeded();
    assert!(
        outcome.stdout.contains("more)") && outcome.stdout.len() < 20_000,
        "{} bytes",
        outcome.stdout.len()
    );
    assert_eq!(controls(&outcome.stdout), []);
    let generate = place.run(&["generate", "--model", "model.gguf", "--chat", "--prompt", "a"]);
    assert!(generate.stderr.len() < 20_000, "{} bytes", generate.stderr.len());
    let unknown = "x".repeat(100_000);
    let outcome = run(&mut place.command(&["info", "--model", &unknown]));
    outcome.failed_in_one_line(&["there is no model", "[…]", "a path works too"]);
}
