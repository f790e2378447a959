//! The Python that trains: one's own, or a virtual environment in the cache that is made once.

use super::Args;
use super::scripts::{self, REQUIREMENTS, Scripts};
use crate::cache::{self, Cache};
use crate::error::{Error, Result};
use crate::{atomic_file, interrupt, progress, system};
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Interpreters to try, in order.
const INTERPRETERS: [&str; 2] = ["python3", "python"];
/// What the scripts import that is not theirs.
const MODULES: &str = "import torch, transformers, peft, trl, datasets, sacrebleu";
/// What the packages take, by measurement (`du`) with torch 2.15 on Linux; its CUDA libraries are most of it.
const SIZES: &str = "6 GB on the disk";

/// An interpreter that has the packages.
pub(super) struct Environment {
    python: PathBuf,
}

impl Environment {
    /// The interpreter `python` if one is given, else that of the cache, which is made if necessary.
    ///
    /// # Errors
    /// If it lacks packages, or cannot be made.
    pub(super) fn find(python: Option<&Path>, cache: &Cache) -> Result<Self> {
        if let Some(python) = python {
            let environment = Environment { python: python.to_path_buf() };
            let mut command = environment.command();
            command.args(["-c", MODULES]);
            let lacks = |problem: String| {
                let (python, packages) = (python.display(), packages());
                Error::Python(format!(
                    "--python {python} cannot be used ({problem}): install the packages, \
                     {python} -m pip install {packages}, or leave out --python"
                ))
            };
            run(command, false).map_err(|error| lacks(error.to_string()))?;
            return Ok(environment);
        }
        let folder = scripts::folder(cache).join("environment");
        cache.check(&folder)?;
        let stamp = folder.join("requirements.txt");
        let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        if edgellm_files::read_to_string(&stamp).ok().as_deref() != Some(REQUIREMENTS) {
            let _lock = cache.lock("finetune")?;
            make(&folder, &python)?;
            atomic_file::write(&stamp, REQUIREMENTS.as_bytes())?;
        }
        Ok(Environment { python })
    }

    fn command(&self) -> Command {
        let mut command = edgellm_files::command(&self.python);
        // Nothing from PYTHONPATH, and no word from libraries that is not an error.
        command.args(["-E", "-u", "-W", "ignore"]);
        command.env("TOKENIZERS_PARALLELISM", "false").env("TRANSFORMERS_VERBOSITY", "error");
        command.env("HF_HUB_DISABLE_TELEMETRY", "1").env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
        command
    }

    /// Runs a script, whose messages appear as they come; what it prints last is its result.
    ///
    /// # Errors
    /// If it fails, with its message.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        script: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let mut command = self.command();
        command.arg(script).args(arguments);
        run(command, true)
    }

    /// As [`Environment::run`], with a result in JSON.
    pub(super) fn json<T: DeserializeOwned, A: AsRef<OsStr>>(
        &self,
        script: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<T> {
        let text = self.run(script, arguments)?;
        let name = script.file_name().unwrap_or_default().to_string_lossy().into_owned();
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .map_err(|error| Error::Python(format!("{name} printed no result ({error})")))
    }
}

/// What pip is asked for.
fn packages() -> String {
    REQUIREMENTS.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ")
}

fn make(folder: &Path, python: &Path) -> Result<()> {
    progress::note(&format!(
        "making a Python environment with PyTorch, transformers, peft and trl in {}, once: {SIZES}",
        folder.display()
    ));
    cache::remove_folder(folder)?;
    cache::create_folder(folder)?;
    let requirements = folder.join("wanted.txt");
    atomic_file::write(&requirements, REQUIREMENTS.as_bytes())?;
    if let Some(uv) = edgellm_files::find("uv") {
        let mut venv = edgellm_files::command(&uv);
        venv.args(["venv", "--quiet", "--clear"]).arg(folder);
        run(venv, true)?;
        atomic_file::write(&requirements, REQUIREMENTS.as_bytes())?;
        let mut install = edgellm_files::command(&uv);
        install.args(["pip", "install", "--quiet", "--python"]).arg(python).arg("-r").arg(&requirements);
        return run(install, true).map(drop);
    }
    let mut venv = edgellm_files::command(interpreter()?);
    venv.args(["-I", "-m", "venv"]).arg(folder);
    run(venv, true).map_err(|error| {
        Error::Python(format!(
            "{error}; install your system's package python3-venv, or give an interpreter with --python"
        ))
    })?;
    let mut install = edgellm_files::command(python);
    install
        .args([
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&requirements);
    run(install, true).map(drop)
}

fn interpreter() -> Result<PathBuf> {
    INTERPRETERS.iter().find_map(edgellm_files::find).ok_or_else(|| {
        Error::Python(
            "training runs in Python, and there is no python3 on the PATH: install Python 3.10 or newer, or give it with --python"
                .to_string(),
        )
    })
}

/// Reads the data with any Python, without the model: what no training can use is said before an environment is made for it. Parquet
/// files and data sets of the hub need packages, and wait.
///
/// # Errors
/// If the data cannot be trained on.
pub(super) fn check_data(scripts: &Scripts, args: &Args) -> Result<()> {
    let readable = |name: &str| {
        [".jsonl", ".ndjson", ".json", ".csv", ".tsv"]
            .iter()
            .any(|ending| name.to_lowercase().ends_with(ending))
    };
    let given = [Some(&args.data), args.evaluation_data.as_ref()];
    if !given.into_iter().flatten().all(|name| readable(name)) {
        return Ok(());
    }
    // Whether that of --python has the packages is found out later, with better words.
    let python = interpreter().or_else(|error| args.python.clone().ok_or(error))?;
    let mut command = edgellm_files::command(python);
    command.arg("-E").arg(scripts.path("prepare_dataset.py")).arg("--data").arg(&args.data).arg("--quiet");
    if let Some(other) = &args.evaluation_data {
        command.arg("--evaluation-data").arg(other);
    }
    if args.skip_bad_rows {
        command.arg("--skip-bad-rows");
    }
    run(command, true).map(drop)
}

/// Threads as an argument.
pub(super) fn threads(args: &Args) -> String {
    args.threads.map_or_else(system::physical_cores, usize::from).to_string()
}

/// Runs a program to its end and returns what it printed. Its messages appear on stderr if `aloud`. Ctrl-C reaches it too, and it is
/// waited for.
fn run(mut command: Command, aloud: bool) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| Error::Python(format!("cannot run {program}: {error}"));
    let listening = interrupt::Listening::start();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || stdout.map(std::io::read_to_string).transpose());
    // Python says what is wrong at the end.
    let mut last = String::new();
    for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')) {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).trim_end().to_string();
        if line.is_empty() {
            continue;
        }
        let is_error = line.starts_with("error: ");
        if aloud && !is_error {
            progress::note(&line);
        }
        last = line;
    }
    let status = child.wait().map_err(failed)?;
    let printed = reader.join().unwrap_or(Ok(None)).map_err(failed)?.unwrap_or_default();
    if listening.raised() {
        return Err(Error::Interrupted);
    }
    match status.success() {
        true => Ok(printed),
        false if last.is_empty() => Err(Error::Python(format!("{program} failed: {status}"))),
        false => Err(Error::Python(last.strip_prefix("error: ").unwrap_or(&last).to_string())),
    }
}
