//! A headless Chromium of our own: a new profile, no network but ours; it ends with the worker.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use tempfile::TempDir;

/// Names under which Chromium is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// The first Chromium on the PATH.
pub fn find() -> Option<PathBuf> {
    NAMES.iter().find_map(edgellm_files::find)
}

/// A running browser, which ends when dropped.
#[derive(Debug)]
pub(super) struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts `program` with a page.
    pub(super) fn start(program: &Path, url: &str) -> io::Result<Self> {
        let profile = tempfile::tempdir()?;
        let child = edgellm_files::command(program)
            .current_dir(profile.path())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            // Background pages must not be throttled.
            .args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"])
            // /dev/shm is small in containers.
            .arg("--disable-dev-shm-usage")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // Without a debugging port, headless Chromium renders once and ends.
            .arg("--remote-debugging-port=0")
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Browser { child, _profile: profile })
    }

    /// Its exit status, if it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // On SIGTERM it ends its own processes first.
        #[cfg(unix)]
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        #[cfg(not(unix))]
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
