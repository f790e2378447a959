//! Model files: three ways in, and files that are damaged or too large.

use super::{SIMD, limits};
use edgellm::testing::{recipes, seeded_model};
use edgellm_plugin_host::{Error, ErrorCode, Limits, SessionOptions, Source};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

/// A directory for this test alone.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin-files").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn in_folder(folder: PathBuf) -> Limits {
    Limits { folder: Some(folder), ..limits() }
}

fn guest(error: Error) -> (ErrorCode, String) {
    match error {
        Error::Guest { code, message } => (code, message),
        error => panic!("not an error of the guest: {error}"),
    }
}

#[test]
fn a_model_opens_from_a_folder_from_bytes_and_from_pieces() {
    let file = seeded_model(recipes()[0], 1).unwrap();
    let folder = folder("ways");
    fs::write(folder.join("m.tmac2.bin"), &file).unwrap();
    let limits = in_folder(folder);
    let mut reader = file.as_slice();
    let pieces = Source::Pieces { reader: &mut reader, length: file.len() as u64 };
    let sources = [Source::File("m.tmac2.bin"), Source::Bytes(Arc::new(file.clone())), pieces];
    let mut all = Vec::new();
    for source in sources {
        let model = SIMD.open(source, &limits).unwrap();
        assert_eq!(model.info().file_bytes, file.len() as u64);
        assert_eq!(model.info().model_type, "llama");
        assert_eq!((model.info().vocab_size, model.info().hidden_size), (256, 96));
        all.push(model.session(SessionOptions::default()).unwrap().prefill(&[1, 2, 3]).unwrap());
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

#[test]
fn pieces_that_end_too_soon_are_an_error_of_the_host() {
    let mut reader: &[u8] = &[1, 2, 3];
    let error = SIMD.open(Source::Pieces { reader: &mut reader, length: 10 }, &limits()).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = folder("missing");
    let limits_there = in_folder(folder.clone());
    let (code, message) = guest(SIMD.open(Source::File("no.tmac2.bin"), &limits_there).unwrap_err());
    assert_eq!(code, ErrorCode::NotFound);
    assert!(message.contains("no.tmac2.bin"), "{message}");
    let (code, message) = guest(SIMD.open(Source::File("m"), &limits()).unwrap_err());
    assert_eq!(code, ErrorCode::NotFound);
    assert!(message.contains("none"), "{message}");
    let error = SIMD.open(Source::File("m"), &in_folder(folder.join("not"))).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    fs::create_dir(folder.join("inner")).unwrap();
    let (code, message) = guest(SIMD.open(Source::File("inner"), &limits_there).unwrap_err());
    assert_eq!(code, ErrorCode::Io);
    assert!(message.contains("regular"), "{message}");
}

#[test]
fn a_file_beyond_32_bits_is_refused_with_the_limits_name() {
    let folder = folder("large");
    // Five gigabytes of nothing, which take no room on the disk.
    File::create(folder.join("large.tmac2.bin")).unwrap().set_len(5 << 30).unwrap();
    File::create(folder.join("memory.tmac2.bin")).unwrap().set_len(200 << 20).unwrap();
    let limits = in_folder(folder);
    let (code, message) = guest(SIMD.open(Source::File("large.tmac2.bin"), &limits).unwrap_err());
    assert_eq!(code, ErrorCode::TooLarge);
    assert!(message.contains("4 GiB") && message.contains("5368709120"), "{message}");
    // It would fit into 32 bits, but not into the 64 MiB of this sandbox.
    let (code, message) = guest(SIMD.open(Source::File("memory.tmac2.bin"), &limits).unwrap_err());
    assert_eq!(code, ErrorCode::Memory);
    assert!(message.contains("memory limit"), "{message}");
}

#[test]
fn damaged_files_are_errors_and_never_more() {
    let file = seeded_model(recipes()[1], 9).unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut refused = 0;
    for round in 0..120 {
        let mut bytes = file.clone();
        match round % 3 {
            0 => bytes.truncate(next(file.len())),
            1 => {
                let at = next(file.len());
                bytes[at] ^= 1 << next(8);
            }
            // The first bytes and the JSON decide how the rest is read.
            _ => {
                let at = next(4096);
                bytes[at..at + 8].fill(next(256) as u8);
            }
        }
        match SIMD.open(Source::Bytes(Arc::new(bytes)), &limits()) {
            // Padding between sections may change.
            Ok(model) => {
                let logits = model.session(SessionOptions::default()).unwrap().prefill(&[1, 2, 3]).unwrap();
                assert_eq!(logits.len(), model.info().vocab_size as usize);
            }
            Err(error) => {
                let (_, message) = guest(error);
                assert!(!message.is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 80, "{refused} of 120 damaged files were refused");
    assert!(SIMD.open(Source::Bytes(Arc::new(file)), &limits()).is_ok());
}

#[test]
fn a_directory_with_a_named_pipe_is_refused() {
    for inner in [".", "inner", "inner/deeper"] {
        // Not where other sandboxes have their directory.
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().to_path_buf();
        fs::create_dir_all(folder.join(inner)).unwrap();
        fs::write(folder.join("m.tmac2.bin"), "").unwrap();
        let pipe = folder.join(inner).join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = SIMD.open(Source::File("m.tmac2.bin"), &in_folder(folder)).unwrap_err();
        assert!(matches!(error, Error::Unsafe(_)) && error.to_string().contains("named pipe"), "{error}");
    }
}
