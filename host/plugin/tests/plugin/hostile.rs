//! Guests that attack: each limit is run into on purpose, and the host goes on.

use super::{HOSTILE, SIMD, limits};
use edgellm::testing::templates::deep_templates;
use edgellm::testing::{recipes, seeded_chat_model, seeded_model, within};
use edgellm_plugin_host::{Error, GenerateOptions, Limits, Message, Plugin, Prompt, SessionOptions, Source};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What comes of an attack, with limits of a quarter of a second and 64 MiB.
fn attack(name: &str) -> Error {
    let limits = Limits { call_time: Duration::from_millis(250), ..limits() };
    attack_within(name, &limits)
}

fn attack_within(name: &str, limits: &Limits) -> Error {
    HOSTILE.open(Source::File(name), limits).map(|_| ()).expect_err("an attack does not open")
}

/// What the guest says came of it.
fn outcome(error: Error) -> String {
    match error {
        Error::Guest { message, .. } => message,
        error => panic!("the guest did not live to tell: {error}"),
    }
}

/// The host is well if it can still run the real guest.
fn host_is_well() {
    let model =
        SIMD.open(Source::Bytes(Arc::new(seeded_model(recipes()[0], 2).unwrap())), &limits()).unwrap();
    assert_eq!(model.session(SessionOptions::default()).unwrap().prefill(&[1]).unwrap().len(), 256);
}

#[test]
fn an_endless_loop_is_stopped_within_50_milliseconds_of_its_time() {
    host_is_well(); // everything is compiled
    let mut late = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let error = attack("spin");
        late.push(start.elapsed().saturating_sub(Duration::from_millis(250)));
        assert!(matches!(error, Error::Deadline { limit } if limit == Duration::from_millis(250)), "{error}");
    }
    late.sort();
    println!("stopped {late:?} after its time");
    // The median: a busy machine may wake any thread late once.
    assert!(late[2] < within(Duration::from_millis(50)), "{late:?}");
    host_is_well();
}

#[test]
fn a_guest_is_cancelled_from_another_thread() {
    let limits = Limits { call_time: Duration::from_secs(3600), ..limits() };
    let model = HOSTILE.open(Source::File("model"), &limits).unwrap();
    let cancel = model.cancel();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        cancel.cancel();
        Instant::now()
    });
    let error = model.detokenize(&[], false).unwrap_err();
    let late = Instant::now() - thread.join().unwrap();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(late < within(Duration::from_millis(200)), "{late:?}");
    let error = model.detokenize(&[], false).unwrap_err();
    assert!(matches!(&error, Error::Over { reason } if reason.contains("cancelled")), "{error}");
    host_is_well();
}

#[test]
fn a_memory_bomb_ends_at_its_limit() {
    let error = attack_within("memory", &limits());
    let Error::OutOfMemory { wanted, limit } = error else { panic!("{error}") };
    assert!(limit == 64 << 20 && wanted > limit && wanted < 2 * limit, "{wanted} of {limit}");
    host_is_well();
}

/// As deep as templates may nest, and deeper: the guest renders or refuses each in its small stack.
#[test]
fn nested_templates_are_no_traps() {
    let message = Message { role: "user".into(), content: "a".into() };
    let mut rendered = 0;
    for (name, template) in deep_templates() {
        let file = seeded_chat_model(recipes()[0], 7, Some(&template)).unwrap();
        let model = SIMD.open(Source::Bytes(Arc::new(file)), &limits());
        let text = model.and_then(|model| model.apply_chat_template(std::slice::from_ref(&message)));
        match text {
            Ok(_) => rendered += 1,
            Err(Error::Guest { .. }) => {}
            Err(error) => panic!("{name:.200}: {error}"),
        }
    }
    assert!(rendered > 100, "{rendered}");
}

#[test]
fn deep_recursion_and_a_panic_are_traps() {
    let error = attack("recurse");
    assert!(matches!(&error, Error::Trap { reason, .. } if reason.contains("stack")), "{error}");
    let error = attack("panic");
    assert!(matches!(&error, Error::Trap { output, .. } if output.contains("for no reason")), "{error}");
    host_is_well();
}

#[test]
fn nothing_outside_the_folder_can_be_read_and_nothing_inside_changed() {
    let top = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-hostile");
    let _ = fs::remove_dir_all(&top);
    let folder = top.join("folder");
    fs::create_dir_all(&folder).unwrap();
    fs::write(top.join("secret"), "the secret").unwrap();
    fs::write(folder.join("public"), "in the open").unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("absolute")).unwrap();
    let limits = Limits { folder: Some(folder.clone()), ..limits() };
    let attack = |name: &str| outcome(attack_within(name, &limits));
    assert_eq!(attack("read:public"), "read in the open");
    for path in
        ["../secret", "./../secret", "x/../../secret", "link", "absolute", "/etc/passwd", "//etc/passwd"]
    {
        let outcome = attack(&format!("read:{path}"));
        assert!(outcome.starts_with("refused"), "{path}: {outcome}");
    }
    for path in ["public", "new"] {
        let outcome = attack(&format!("write:{path}"));
        assert!(!outcome.contains("Ok"), "{path}: {outcome}");
    }
    assert_eq!(fs::read_to_string(folder.join("public")).unwrap(), "in the open");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    assert_eq!(outcome(attack_within("read:public", &super::limits())), "no folder");
}

#[test]
fn handles_random_bytes_and_shouts_are_limited() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let limits = Limits { folder: Some(folder), ..limits() };
    let error = attack_within("handles", &limits);
    // The table of handles is full: the call traps, or says so.
    match &error {
        Error::Guest { message, .. } => assert!(message.contains("handles, then"), "{message}"),
        error => assert!(matches!(error, Error::Trap { .. }), "{error}"),
    }
    assert!(matches!(attack("random"), Error::Trap { .. }));
    match attack_within("shout", &limits) {
        Error::Guest { message, .. } => assert!(message.starts_with("4096 bytes, then"), "{message}"),
        error => assert!(matches!(error, Error::Trap { .. }), "{error}"),
    }
    host_is_well();
}

#[test]
fn huge_answers_are_refused_before_the_host_takes_memory_for_them() {
    let limits = Limits { memory: 3 << 30, ..limits() };
    let before = peak_bytes();
    let error = attack_within("long-error", &limits);
    assert!(matches!(&error, Error::Trap { .. }), "{error}");
    let error = attack_within("long-name", &limits);
    assert!(matches!(&error, Error::Trap { .. }), "{error}");
    let model = HOSTILE.open(Source::File("model"), &limits).unwrap();
    let error = model.tokenize("", false).unwrap_err();
    assert!(matches!(&error, Error::Trap { .. }), "{error}");
    drop(model);
    println!(
        "{error}; the process grew by {} MB, of which the guest's own string is 537",
        (peak_bytes() - before) >> 20
    );
    host_is_well();
}

/// Largest resident size of this process so far, in bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

#[test]
fn a_trap_in_the_middle_of_a_stream_ends_the_stream_with_an_error() {
    let model = HOSTILE.open(Source::File("model"), &limits()).unwrap();
    let mut session = model.session(SessionOptions::default()).unwrap();
    let generation = session.generate(&Prompt::Text("x".into()), &GenerateOptions::default()).unwrap();
    let tokens: Vec<_> = generation.collect();
    assert_eq!(tokens.len(), 4);
    let text: String = tokens[..3].iter().map(|token| token.as_ref().unwrap().text.as_str()).collect();
    assert_eq!(text, "0 1 2 ");
    assert!(matches!(tokens[3], Err(Error::Trap { .. })), "{:?}", tokens[3]);
    assert!(matches!(session.prefill(&[1]), Err(Error::Over { .. })));
    assert!(matches!(model.session(SessionOptions::default()), Err(Error::Over { .. })));
    host_is_well();
}

#[test]
fn lies_about_sizes_are_data_and_nothing_else() {
    let model = HOSTILE.open(Source::File("model"), &limits()).unwrap();
    let mut session = model.session(SessionOptions::default()).unwrap();
    assert_eq!(session.position().unwrap(), u32::MAX as usize);
    assert_eq!(session.prefill(&[1]).unwrap().len(), 0);
    assert_eq!(session.decode(1).unwrap().len(), 3);
    let messages = [Message { role: String::new(), content: String::new() }];
    assert!(matches!(model.apply_chat_template(&messages), Err(Error::Trap { .. })));
}

#[test]
fn reading_behind_the_end_of_the_hosts_bytes_is_an_error() {
    let error = HOSTILE.open(Source::Bytes(Arc::new(vec![1, 2, 3])), &limits()).map(|_| ()).unwrap_err();
    let outcome = outcome(error);
    assert!(outcome.contains("Err") && outcome.contains("3 bytes"), "{outcome}");
}

#[test]
fn components_that_want_more_than_the_sandbox_gives_do_not_load() {
    for import in [
        "wasi:sockets/tcp-create-socket@0.2.0",
        "wasi:sockets/udp-create-socket@0.2.12",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:cli/environment@0.2.0",
        "wasi:cli/stdout@0.2.0",
        "other:thing/anything",
    ] {
        let text = format!(r#"(component (import "{import}" (instance (export "f" (func)))))"#);
        let error = Plugin::from_bytes(&wat::parse_str(text).unwrap(), None).unwrap_err();
        let Error::Component { reason } = &error else { panic!("{error}") };
        assert!(reason.contains(import), "{reason}");
    }
    // Waiting would hold a host thread where no deadline reaches.
    let text = r#"(component (import "wasi:io/poll@0.2.12" (instance
        (export "pollable" (type $p (sub resource)))
        (export "poll" (func (param "in" (list (borrow $p))) (result (list u32)))))))"#;
    let error = Plugin::from_bytes(&wat::parse_str(text).unwrap(), None).unwrap_err();
    assert!(error.to_string().contains("poll"), "{error}");
    for bytes in [&b""[..], b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0", b"GGUF and so on"] {
        assert!(matches!(Plugin::from_bytes(bytes, None), Err(Error::Component { .. })));
    }
}

#[test]
fn a_damaged_cache_of_machine_code_is_made_anew() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache");
    let _ = fs::remove_dir_all(&folder);
    let path = super::component("edgellm-hostile-simd.wasm");
    let load = || Plugin::load(&path, Some(&folder)).unwrap();
    load();
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&file).unwrap();
    let (middle, mut damaged) = (sound.len() / 2, sound.clone());
    damaged[middle] ^= 1;
    for bytes in [&damaged, &sound[..middle], &[][..]] {
        fs::write(&file, bytes).unwrap();
        load();
        assert_eq!(fs::read(&file).unwrap(), sound);
    }
}

#[test]
fn machine_code_that_others_can_change_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("cache");
    let path = super::component("edgellm-hostile-simd.wasm");
    let load = || Plugin::load(&path, Some(&folder));
    load().unwrap();
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let set = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for (path, bad, good) in
        [(&folder, 0o777, 0o700), (&folder, 0o770, 0o700), (&file, 0o606, 0o600), (&file, 0o620, 0o600)]
    {
        set(path, bad);
        let error = load().unwrap_err();
        assert!(matches!(error, Error::Unsafe(_)) && error.to_string().contains("chmod"), "{error}");
        set(path, good);
        load().unwrap();
    }
    // Only the superuser gives files away.
    for path in [&file, &folder] {
        if chown(path, Some(65534), None).is_ok() {
            assert!(load().unwrap_err().to_string().contains("another user"));
            chown(path, Some(0), None).unwrap();
        }
    }
    // Not a file, and yet no wait for what it might become.
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(load().unwrap_err().to_string().contains("named pipe"));
}
