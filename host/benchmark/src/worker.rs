//! A worker process, seen from the benchmark.

use crate::observer::Observer;
use crate::process::{self, Usage};
use crate::protocol::{Answer, Done, Hello, Ready, Request};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a wait checks whether to continue.
const POLL: Duration = Duration::from_millis(50);
/// How long a worker may take to exit.
const GRACE: Duration = Duration::from_secs(2);
/// How many bytes of a worker's stderr are kept.
const LAST_WORDS: u64 = 4 << 10;

/// Why there is no answer from a worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The program cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Something that it needs is missing.
    #[error("{0}")]
    Absent(String),
    /// It ended before it answered.
    #[error("it ended ({status}){}", said(last_words))]
    Ended {
        /// Its exit status.
        status: String,
        /// The end of its stderr.
        last_words: String,
    },
    /// It violated the protocol.
    #[error("it wrote {line:?}, which is not a valid answer: {source}")]
    Nonsense {
        /// Its message, shortened.
        line: String,
        /// What is wrong with that.
        source: serde_json::Error,
    },
    /// It could not run the prompt.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("no answer within {0} seconds")]
    Timeout(u64),
    /// The observer stopped the measurement.
    #[error("interrupted")]
    Interrupted,
}

fn said(last_words: &str) -> String {
    let line = last_words.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| format!(", saying {:?}", line.trim()))
}

/// A running worker, whose process ends when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
    errors: Option<JoinHandle<String>>,
    /// What it reported about itself.
    pub ready: Ready,
}

/// When to give up.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// Longest wait for one answer.
    pub limit: Duration,
    /// Asked whether to stop.
    pub observer: &'a dyn Observer,
}

impl Worker {
    /// Starts `command` and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot start, reports that something is missing, or does not respond.
    pub fn start(mut command: Command, patience: Patience<'_>) -> Result<Self, WorkerError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for the benchmark, which then ends its workers by closing their input.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|source| WorkerError::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // Ends when the worker does, or when nobody listens any longer.
            thread::spawn(move || BufReader::new(stdout).lines().try_for_each(|line| sender.send(line)));
        }
        let errors = child.stderr.take().map(|stderr| thread::spawn(move || last_words(stderr)));
        let mut worker = Worker { child, lines, errors, ready: Ready::default() };
        match worker.line(patience)? {
            Hello::Ready(ready) => worker.ready = ready,
            Hello::Absent(reason) => return Err(WorkerError::Absent(reason)),
        }
        Ok(worker)
    }

    /// Runs a prompt.
    ///
    /// # Errors
    /// If there is no valid answer; the worker is then unusable, unless it reported the failure itself.
    pub fn run(&mut self, request: &Request, patience: Patience<'_>) -> Result<Done, WorkerError> {
        let written = match (&mut self.child.stdin, serde_json::to_string(request)) {
            (Some(stdin), Ok(line)) => writeln!(stdin, "{line}").and_then(|()| stdin.flush()).is_ok(),
            _ => false,
        };
        if !written {
            return Err(self.ended());
        }
        match self.line(patience)? {
            Answer::Done(done) => Ok(done),
            Answer::Failed(reason) => Err(WorkerError::Failed(reason)),
        }
    }

    /// Memory and CPU time of the process and its children.
    pub fn usage(&self) -> Option<Usage> {
        process::usage(self.child.id())
    }

    fn line<T: serde::de::DeserializeOwned>(&mut self, patience: Patience<'_>) -> Result<T, WorkerError> {
        let start = Instant::now();
        let line = loop {
            match self.lines.recv_timeout(POLL) {
                Ok(Ok(line)) => break line,
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if patience.observer.stop() {
                return Err(WorkerError::Interrupted);
            }
            if start.elapsed() > patience.limit {
                return Err(WorkerError::Timeout(patience.limit.as_secs()));
            }
        };
        serde_json::from_str(&line)
            .map_err(|source| WorkerError::Nonsense { line: line.chars().take(200).collect(), source })
    }

    fn ended(&mut self) -> WorkerError {
        let status =
            self.end().map_or_else(|| "for no known reason".to_string(), |status| status.to_string());
        let last_words = self.last_words().unwrap_or_default();
        WorkerError::Ended { status, last_words }
    }

    /// The end of an ended process's stderr; empty if a child of it still holds the pipe.
    fn last_words(&mut self) -> Option<String> {
        let errors = self.errors.take()?;
        let start = Instant::now();
        while !errors.is_finished() && start.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(5));
        }
        if errors.is_finished() { errors.join().ok() } else { None }
    }

    /// Ends the process: by closing its input, and if that does not help, by killing it.
    fn end(&mut self) -> Option<ExitStatus> {
        drop(self.child.stdin.take());
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Its children too, where there are process groups.
        #[cfg(unix)]
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads to the end and keeps the last bytes.
fn last_words(mut stderr: impl std::io::Read) -> String {
    let mut kept = Vec::new();
    let mut piece = Vec::new();
    while matches!(stderr.by_ref().take(LAST_WORDS).read_to_end(&mut piece), Ok(1..)) {
        kept.append(&mut piece);
        let surplus = kept.len().saturating_sub(LAST_WORDS as usize);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
