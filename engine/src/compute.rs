//! The kernels, and the threads that run them.

use edgellm_kernels::{Kernels, Pool};
use std::fmt;
use std::sync::Arc;

/// Kernels and the threads that run them. Clones share the threads.
///
/// ```
/// let best = edgellm::Compute::default();
/// println!("{} on {} thread(s)", best.kernels().name(), best.threads());
/// ```
#[derive(Clone)]
pub struct Compute {
    kernels: Kernels,
    workers: Arc<Workers>,
}

/// The kernels that this machine can run, the fastest first; never empty.
pub fn available_kernels() -> Vec<Kernels> {
    #[cfg(not(target_arch = "wasm32"))]
    return edgellm_kernels_native::available();
    #[cfg(target_arch = "wasm32")]
    edgellm_kernels::available()
}

impl Compute {
    /// These kernels on `threads` threads: the calling thread and `threads - 1` workers, which live as long as the last
    /// clone. Results do not depend on the number. On wasm32 no threads can be started here: the embedder adds its own
    /// to [`Compute::pool`].
    pub fn new(kernels: Kernels, threads: usize) -> Self {
        Compute { kernels, workers: Arc::new(Workers::start(threads.max(1) - 1)) }
    }

    /// The kernels.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The thread pool.
    pub fn pool(&self) -> &Pool {
        &self.workers.pool
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.workers.count() + 1
    }
}

impl Default for Compute {
    /// The fastest kernels, on the calling thread alone.
    fn default() -> Self {
        Compute::new(available_kernels()[0], 1)
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compute({}, {} threads)", self.kernels.name(), self.threads())
    }
}

struct Workers {
    pool: Arc<Pool>,
    #[cfg(not(target_arch = "wasm32"))]
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    #[cfg(not(target_arch = "wasm32"))]
    fn start(count: usize) -> Self {
        let pool = Arc::new(Pool::new());
        let threads: Vec<_> = (0..count)
            .filter_map(|index| {
                let pool = Arc::clone(&pool);
                let builder = std::thread::Builder::new().name(format!("edgellm-{}", index + 1));
                // If the system refuses a thread, go on with fewer.
                builder.spawn(move || pool.work()).ok()
            })
            .collect();
        Workers { pool, threads }
    }

    #[cfg(target_arch = "wasm32")]
    fn start(_: usize) -> Self {
        Workers { pool: Arc::new(Pool::new()) }
    }

    /// Workers besides the calling thread: those started here, which may take a moment to join the pool, or those that
    /// the embedder added.
    fn count(&self) -> usize {
        #[cfg(not(target_arch = "wasm32"))]
        return self.threads.len();
        #[cfg(target_arch = "wasm32")]
        return self.pool.threads() - 1;
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Workers {
    fn drop(&mut self) {
        self.pool.close();
        for thread in self.threads.drain(..) {
            // Workers catch the panics of their regions and do not panic themselves.
            drop(thread.join());
        }
    }
}
