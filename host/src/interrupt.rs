//! Ctrl-C.
//!
//! Normally the program removes its incomplete files, stops its child process and exits with code 130. While a
//! [`Listening`] exists, a flag is raised instead.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static RAISED: AtomicBool = AtomicBool::new(false);
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static UNFINISHED: Mutex<Unfinished> = Mutex::new(Unfinished { files: Vec::new(), child: None });

struct Unfinished {
    files: Vec<PathBuf>,
    child: Option<Arc<Mutex<Child>>>,
}

/// Exit code of a program ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

fn unfinished() -> MutexGuard<'static, Unfinished> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the handler. If the platform refuses, Ctrl-C ends the program at once.
pub(crate) fn install() {
    let _ = ctrlc::set_handler(|| {
        if LISTENERS.load(Ordering::SeqCst) > 0 {
            RAISED.store(true, Ordering::SeqCst);
            return;
        }
        // Locked until the process ends: no file can be begun or completed from here on.
        let mut unfinished = unfinished();
        if let Some(child) = unfinished.child.take() {
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
        for file in unfinished.files.drain(..) {
            // Directories are drafts too.
            if std::fs::remove_file(&file).is_err() {
                let _ = std::fs::remove_dir_all(file);
            }
        }
        std::process::exit(i32::from(INTERRUPTED));
    });
}

/// While this exists, Ctrl-C raises a flag and the program continues.
pub(crate) struct Listening(());

impl Listening {
    /// Starts to listen, with the flag cleared.
    pub(crate) fn start() -> Self {
        RAISED.store(false, Ordering::SeqCst);
        LISTENERS.fetch_add(1, Ordering::SeqCst);
        Listening(())
    }

    /// Whether Ctrl-C was pressed since the start.
    pub(crate) fn raised(&self) -> bool {
        RAISED.load(Ordering::SeqCst)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Creates a file or directory with `create`, to be removed on Ctrl-C until [`forget`] is called.
pub(crate) fn guard<T, E>(
    create: impl FnOnce() -> Result<T, E>,
    path: impl FnOnce(&T) -> &Path,
) -> Result<T, E> {
    let mut unfinished = unfinished();
    let created = create()?;
    let path = path(&created).to_path_buf();
    unfinished.files.push(path);
    Ok(created)
}

/// Completes or removes the file or directory at `path` by `finish`, which Ctrl-C does not interrupt.
pub(crate) fn forget<T>(path: &Path, finish: impl FnOnce() -> T) -> T {
    let mut unfinished = unfinished();
    unfinished.files.retain(|file| file != path);
    finish()
}

/// Sets the child process to kill on Ctrl-C; `None` when it has ended.
pub(crate) fn set_child(child: Option<Arc<Mutex<Child>>>) {
    unfinished().child = child;
}
