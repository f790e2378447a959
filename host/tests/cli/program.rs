//! Running `edgellm` in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A cache folder and a working folder, removed at the end.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        Place { folder }
    }

    /// The cache folder, which the program creates.
    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// A path in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Creates a folder in the cache, as the program does.
    #[cfg(unix)]
    pub(crate) fn private_folder(&self, path: &Path) {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
    }

    /// Names in the working folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.path(""))
    }

    /// The program with `args`, in the working folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        command(&self.cache(), &self.path(""), args)
    }

    /// Runs the program with `args`.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        run(&mut self.command(args))
    }
}

/// The program with `args`, knowing nothing of the user's settings.
pub(crate) fn command(cache: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgellm"));
    command.args(args).current_dir(folder).env("EDGELLM_HOME", cache).stdin(Stdio::null());
    for name in [
        "HF_ENDPOINT",
        "PIP_INDEX_URL",
        "HF_TOKEN",
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "http_proxy",
        "HTTP_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Names in a folder, sorted; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// As [`run`], for a command that must not wait for anything.
#[cfg(unix)]
pub(crate) fn run_at_once(command: &mut Command) -> Outcome {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = std::time::Instant::now() + edgellm::testing::within(std::time::Duration::from_secs(10));
    while child.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > end {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sets the permissions of a file or directory.
#[cfg(unix)]
pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The small model of the tests as a Hugging Face directory.
pub(crate) const FOLDER: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("../../../fuzz/folder/config.json")),
    ("tokenizer.json", include_bytes!("../../../fuzz/folder/tokenizer.json")),
    ("model.safetensors", include_bytes!("../../../fuzz/folder/model.safetensors")),
];

/// Writes [`FOLDER`].
pub(crate) fn folder(path: &Path) {
    std::fs::create_dir_all(path).unwrap();
    FOLDER.iter().for_each(|(name, bytes)| std::fs::write(path.join(name), bytes).unwrap());
}

impl Outcome {
    /// The run must have succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The run must have failed with one clear line that contains all of `words`, and nothing on stdout.
    #[track_caller]
    pub(crate) fn failed_with(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        let errors: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{self:#?}");
        assert_eq!(self.stderr.lines().last(), Some(errors[0]), "the error is the last line: {self:#?}");
        for word in words {
            assert!(errors[0].contains(word), "{word:?} is not in {:?}", errors[0]);
        }
        self
    }

    /// As [`Outcome::failed_with`], and the error is all that was said.
    #[track_caller]
    pub(crate) fn failed_in_one_line(self, words: &[&str]) -> Self {
        let outcome = self.failed_with(words);
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
        outcome
    }
}
