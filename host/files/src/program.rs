//! Programs that this one starts.
//!
//! An empty or relative entry of the PATH stands for the working directory or something in it, which may hold anything:
//! such entries do not count, neither for us nor for the programs that we start.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program called `name` in the first absolute entry of the PATH that has it.
pub fn find(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let mut name = name.as_ref().to_owned();
    name.push(env::consts::EXE_SUFFIX);
    entries().into_iter().map(|folder| folder.join(&name)).find(|file| is_program(file))
}

/// A command that starts `program`: a path, or a name to [`find`]. If there is no such program, starting it fails.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let program = program.as_ref();
    let is_name =
        Path::new(program).components().count() == 1 && Path::new(program).file_name() == Some(program);
    let found = if is_name { find(program) } else { std::path::absolute(program).ok() };
    let mut command = Command::new(found.map_or_else(|| program.to_owned(), PathBuf::into_os_string));
    command.env("PATH", path());
    command
}

fn entries() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

/// The PATH without the entries that do not count.
fn path() -> OsString {
    match entries() {
        // An empty PATH would be the working directory.
        none if none.is_empty() => "/".into(),
        entries => env::join_paths(entries).unwrap_or_else(|_| "/".into()),
    }
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_or_path_and_get_a_clean_path() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no such program"), None);
        assert!(Path::new(command("sh").get_program()).is_absolute());
        assert!(Path::new(command("./sh").get_program()).is_absolute());
        assert!(command("no such program").spawn().is_err());
        let command = command("sh");
        let (_, path) = command.get_envs().find(|(name, _)| *name == "PATH").unwrap();
        assert!(env::split_paths(path.unwrap()).all(|entry| entry.is_absolute()));
    }
}
