//! Ctrl-C: whoever has something half-done says so here, and the handler tidies it up before the end.
//!
//! Two ways of being interrupted: normally the program removes its half-written files, stops its child
//! process and ends with code 130; while [`Listening`] lives, a flag is raised instead.

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
const INTERRUPTED: i32 = 130;

fn unfinished() -> MutexGuard<'static, Unfinished> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the handler. Without one (a platform that refuses) Ctrl-C ends the program as always.
pub(crate) fn install() {
    let _ = ctrlc::set_handler(|| {
        if LISTENERS.load(Ordering::SeqCst) > 0 {
            RAISED.store(true, Ordering::SeqCst);
            return;
        }
        // Held to the end of the process: nobody can begin or complete a file from here on.
        let mut unfinished = unfinished();
        if let Some(child) = unfinished.child.take() {
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
        for file in unfinished.files.drain(..) {
            let _ = std::fs::remove_file(file);
        }
        std::process::exit(INTERRUPTED);
    });
}

/// While this lives, Ctrl-C raises a flag and the program goes on.
pub(crate) struct Listening(());

impl Listening {
    /// Begins to listen, with the flag down.
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

/// Creates a file with `create` and has it removed on Ctrl-C until [`forget`] is called.
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

/// The file at `path` is complete, or gone: `finish` makes it so, undisturbed by Ctrl-C.
pub(crate) fn forget<T>(path: &Path, finish: impl FnOnce() -> T) -> T {
    let mut unfinished = unfinished();
    unfinished.files.retain(|file| file != path);
    finish()
}

/// Has `child` stopped on Ctrl-C; `None` when it has ended.
pub(crate) fn set_child(child: Option<Arc<Mutex<Child>>>) {
    unfinished().child = child;
}
