//! The attacks.

use std::hint::black_box;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

/// Attacks in the way that `path` says, and tells what came of it; none if there is nothing to do yet.
pub(crate) fn run(path: &str) -> Option<String> {
    let (attack, argument) = path.split_once(':').unwrap_or((path, ""));
    match attack {
        "spin" => spin(),
        "recurse" => Some(recurse(1).to_string()),
        "memory" => Some(eat_memory()),
        "long-error" => Some("x".repeat(512 << 20)),
        "read" => Some(read(argument)),
        "write" => Some(write(argument)),
        "handles" => Some(take_handles()),
        "random" => Some(format!("{} random bytes", wasip2::random::random::get_random_bytes(1 << 30).len())),
        "shout" => Some(shout()),
        "panic" => {
            std::panic::set_hook(Box::new(|info| {
                let message = info.to_string();
                let _ = wasip2::cli::stderr::get_stderr().blocking_write_and_flush(message.as_bytes());
            }));
            panic!("for no reason")
        }
        _ => None,
    }
}

/// Never ends.
pub(crate) fn spin() -> ! {
    loop {
        black_box(0);
    }
}

/// Ends where the engine's stack does: so small frames leave the guest's own stack, in its memory, far from its end.
#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth) + 1)) + 1
}

/// Takes all that it gets, and then more.
fn eat_memory() -> String {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(black_box(vec![1; 16 << 20]));
    }
}

fn read(path: &str) -> String {
    let Some((folder, _)) = get_directories().into_iter().next() else { return "no folder".to_string() };
    let flags = DescriptorFlags::READ;
    match folder.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), flags) {
        Ok(file) => match file.read(1 << 20, 0) {
            Ok((bytes, _)) => format!("read {}", String::from_utf8_lossy(&bytes)),
            Err(error) => format!("refused: {error:?}"),
        },
        Err(error) => format!("refused: {error:?}"),
    }
}

fn write(path: &str) -> String {
    let Some((folder, _)) = get_directories().into_iter().next() else { return "no folder".to_string() };
    let mut outcomes = Vec::new();
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    match folder.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::CREATE, flags) {
        Ok(file) => outcomes.push(format!("opened, wrote {:?}", file.write(b"pwned", 0))),
        Err(error) => outcomes.push(format!("create {error:?}")),
    }
    outcomes.push(format!("unlink {:?}", folder.unlink_file_at(path)));
    outcomes.push(format!("folder {:?}", folder.create_directory_at("made")));
    outcomes.push(format!("rename {:?}", folder.rename_at(path, &folder, "renamed")));
    outcomes.push(format!("link {:?}", folder.symlink_at("/etc", "etc")));
    outcomes.join(", ")
}

/// Opens the folder over and over.
fn take_handles() -> String {
    let Some((folder, _)) = get_directories().into_iter().next() else { return "no folder".to_string() };
    let mut taken = Vec::new();
    loop {
        match folder.open_at(PathFlags::empty(), ".", OpenFlags::DIRECTORY, DescriptorFlags::READ) {
            Ok(handle) => taken.push(handle),
            Err(error) => return format!("{} handles, then {error:?}", taken.len()),
        }
    }
}

/// Fills the host's memory by way of the standard error.
fn shout() -> String {
    let stderr = wasip2::cli::stderr::get_stderr();
    let mut written = 0;
    let line = [b'!'; 4096];
    while written < 1 << 30 {
        match stderr.blocking_write_and_flush(&line) {
            Ok(()) => written += line.len(),
            Err(error) => return format!("{written} bytes, then {error:?}"),
        }
    }
    format!("{written} bytes")
}
