//! From `--targets` and `--peers` to the commands of workers.

use crate::args::{NO_PLUGIN, RunArgs};
use crate::error::{Error, Result};
use edgellm_benchmark::peer::{self, Peers};
use edgellm_benchmark::report::Absent;
use edgellm_benchmark::run::Subject;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// EdgeLLM's own targets.
const OWN: [&str; 3] = ["native", "plugin", "browser"];

/// The peer that runs in the browser too.
const WLLAMA: &str = "wllama";

/// What the commands of workers are made from.
pub(super) struct Setting<'a> {
    pub(super) model: &'a Path,
    pub(super) gguf: Option<&'a Path>,
    pub(super) context: usize,
    pub(super) run: &'a RunArgs,
    pub(super) python: &'a OsString,
    pub(super) program: PathBuf,
    pub(super) component: Option<&'a Path>,
    pub(super) web_package: Option<&'a Path>,
    pub(super) wllama_package: Option<&'a Path>,
    pub(super) chromium: Option<&'a Path>,
}

impl Setting<'_> {
    /// The targets and peers of these names, and those that are not available.
    ///
    /// # Errors
    /// If a name is unknown.
    pub(super) fn subjects(
        &self,
        targets: &[String],
        peers: &[String],
    ) -> Result<(Vec<Subject>, Vec<Absent>)> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in targets {
            match name.split_once('=') {
                Some((name, command)) => found.push(self.custom(name, command, true)?),
                None if name == "native" => found.push(self.native()),
                None if name == "browser" => match self.web_package {
                    Some(package) => found.push(self.page("browser", "browser", true, self.model, package)),
                    None => missing.push(absent(name, "no package: give its directory with --web-package")),
                },
                None if name == "plugin" => match self.plugin() {
                    Ok(plugin) => found.push(plugin),
                    Err(absent) => missing.push(absent),
                },
                None => return Err(unknown("target", name, OWN.into_iter())),
            }
        }
        for name in peers {
            match name.split_once('=') {
                Some((name, command)) => found.push(self.custom(name, command, false)?),
                None => match self.gguf {
                    _ if name != WLLAMA && !peer::names().any(|known| known == name) => {
                        return Err(unknown("peer", name, peer::names().chain([WLLAMA])));
                    }
                    None => missing.push(absent(name, "no GGUF file of this model: give one with --gguf")),
                    Some(gguf) if name == WLLAMA => match self.wllama_package {
                        Some(package) => found.push(self.page(WLLAMA, WLLAMA, false, gguf, package)),
                        None => {
                            missing
                                .push(absent(name, "no package: give its directory with --wllama-package"));
                        }
                    },
                    Some(gguf) => found.push(self.peer(name, gguf)),
                },
            }
        }
        Ok((found, missing))
    }

    fn native(&self) -> Subject {
        let mut arguments = vec!["--model".into(), self.model.into()];
        if let Some(kernel) = &self.run.kernel {
            arguments.extend(["--kernel".into(), kernel.into()]);
        }
        self.own("native", "native", true, arguments)
    }

    /// The component in a sandbox of this program, if it was built with the plugin.
    fn plugin(&self) -> std::result::Result<Subject, Absent> {
        if cfg!(not(feature = "plugin")) {
            return Err(absent("plugin", NO_PLUGIN));
        }
        let mut arguments = vec!["--model".into(), self.model.into()];
        if let Some(component) = self.component {
            arguments.extend(["--component".into(), component.into()]);
        }
        Ok(self.own("plugin", "plugin", true, arguments))
    }

    /// A page in Chromium that loads this package and model.
    fn page(&self, name: &str, kind: &str, exact: bool, model: &Path, package: &Path) -> Subject {
        let mut arguments = vec!["--model".into(), model.into(), "--package".into(), package.into()];
        if let Some(chromium) = self.chromium {
            arguments.extend(["--chromium".into(), chromium.into()]);
        }
        self.own(name, kind, exact, arguments)
    }

    /// A worker that is this program.
    fn own(&self, name: &str, kind: &str, exact: bool, arguments: Vec<OsString>) -> Subject {
        let (program, kind, context) = (self.program.clone(), kind.to_string(), self.context.to_string());
        let command = move |threads: usize| {
            let mut command = edgellm_files::command(&program);
            command.args(["benchmark-worker", "--kind", &kind, "--context", &context]).args(&arguments);
            command.arg("--threads").arg(threads.to_string());
            command
        };
        Subject { name: name.to_string(), exact, command: Box::new(command) }
    }

    fn peer(&self, name: &str, gguf: &Path) -> Subject {
        let peers = Peers { python: self.python.clone(), gguf: gguf.to_path_buf(), context: self.context };
        let known = name.to_string();
        // The name has been looked up already.
        let command =
            move |threads| peers.command(&known, threads).unwrap_or_else(|| edgellm_files::command("false"));
        Subject { name: name.to_string(), exact: false, command: Box::new(command) }
    }

    /// `NAME=COMMAND`: any program that speaks the protocol.
    fn custom(&self, name: &str, command: &str, exact: bool) -> Result<Subject> {
        let model = self.model.to_string_lossy().into_owned();
        let gguf = self.gguf.unwrap_or(self.model).to_string_lossy().into_owned();
        let context = self.context.to_string();
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| {
                word.replace("{model}", &model).replace("{gguf}", &gguf).replace("{context}", &context)
            })
            .collect();
        let [program, arguments @ ..] = &words[..] else {
            return Err(Error::Usage(format!("{name}= needs a command")));
        };
        let (program, arguments) = (program.clone(), arguments.to_vec());
        let command = move |threads: usize| {
            let mut command = edgellm_files::command(&program);
            command.args(arguments.iter().map(|word| word.replace("{threads}", &threads.to_string())));
            command
        };
        Ok(Subject { name: name.to_string(), exact, command: Box::new(command) })
    }
}

fn absent(target: &str, reason: &str) -> Absent {
    Absent { target: target.to_string(), reason: reason.to_string() }
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let known: Vec<_> = known.collect();
    Error::Usage(format!("unknown {what} {name:?}: give one of {}, or NAME=COMMAND", known.join(", ")))
}
