//! `edgellm serve --target plugin`: every model runs in a sandbox of its own.
//!
//! This process tokenizes and samples, with the tokenizer and chat template of the model file; forward passes run in the
//! sandbox. A sandbox that has ended is replaced.

use crate::args::{RunArgs, TargetArgs};
use crate::cache::Cache;
use crate::error;
use crate::{model, plugin};
use edgellm::{Compute, SessionOptions, TokenId};
use edgellm_memory::Placement;
use edgellm_plugin_host::{Batch, BatchRun, Error, Model, Plugin, Session};
use edgellm_server::{OpenError, OpenModel, Run, Runner, RunnerError, RunnerSession};
use std::path::{Path, PathBuf};

/// Opens models in sandboxes.
pub(super) struct Sandboxes {
    plugin: Plugin,
    kv_memory: u64,
    cache: Cache,
}

impl Sandboxes {
    pub(super) fn new(
        args: &TargetArgs,
        run: &RunArgs,
        kv_memory: u64,
        cache: &Cache,
    ) -> error::Result<Self> {
        Ok(Sandboxes { plugin: plugin::load(args, run, cache)?, kv_memory, cache: cache.clone() })
    }

    /// Creates the function that opens the model file at `path`.
    pub(super) fn opener(&self, path: &Path) -> impl Fn() -> Result<OpenModel, OpenError> + use<> {
        let (plugin, path, kv_memory) = (self.plugin.clone(), path.to_path_buf(), self.kv_memory);
        let cache = self.cache.clone();
        move || {
            let model = model::open(&path, Compute::default(), Placement::Mapped, &cache)?;
            let opened = Opened { plugin: plugin.clone(), path: path.clone(), kv_memory };
            let sandbox = opened.sandbox()?;
            Ok(OpenModel::with_runner(model, Sandboxed { opened, sandbox, logits: Vec::new() }))
        }
    }
}

/// What it takes to open the model again.
struct Opened {
    plugin: Plugin,
    path: PathBuf,
    kv_memory: u64,
}

impl Opened {
    fn sandbox(&self) -> Result<(Model, Batch), RunnerError> {
        let model = plugin::open(&self.plugin, &self.path, self.kv_memory).map_err(RunnerError::remote)?;
        let batch = model.batch().map_err(remote)?;
        Ok((model, batch))
    }
}

/// A model in its sandbox.
struct Sandboxed {
    opened: Opened,
    sandbox: (Model, Batch),
    logits: Vec<f32>,
}

fn remote(error: Error) -> RunnerError {
    RunnerError::remote(error)
}

impl Runner for Sandboxed {
    type Session = SandboxedSession;

    fn session(&mut self, options: SessionOptions) -> Result<SandboxedSession, RunnerError> {
        let model = &self.sandbox.0;
        let session = model.session(plugin::session_options(options)).map_err(remote)?;
        let capacity = session.capacity().map_err(remote)?;
        let hidden_size = model.info().hidden_size as usize;
        Ok(SandboxedSession { session, position: 0, capacity, hidden_size, cache_bytes: 0 })
    }

    fn run(&mut self, runs: &mut [Run<'_, SandboxedSession>]) -> Result<&mut [f32], RunnerError> {
        let batch_runs: Vec<BatchRun<'_>> = runs
            .iter_mut()
            .map(|Run { session, tokens, wanted }| BatchRun {
                session: &mut session.session,
                tokens,
                wanted: *wanted,
            })
            .collect();
        self.logits = self.sandbox.1.run(&batch_runs).map_err(remote)?;
        for run in runs {
            run.session.position += run.tokens.len();
            run.session.measure()?;
        }
        Ok(&mut self.logits)
    }

    fn restart(&mut self) -> Result<(), RunnerError> {
        self.sandbox = self.opened.sandbox()?;
        Ok(())
    }
}

/// A session in the sandbox. Its position and size are tracked here, so that the scheduler need not ask the guest.
#[derive(Debug)]
struct SandboxedSession {
    session: Session,
    position: usize,
    capacity: usize,
    hidden_size: usize,
    cache_bytes: u64,
}

impl SandboxedSession {
    fn measure(&mut self) -> Result<(), RunnerError> {
        self.cache_bytes = self.session.cache_bytes().map_err(remote)?;
        Ok(())
    }
}

impl RunnerSession for SandboxedSession {
    fn position(&self) -> usize {
        self.position
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    fn reserve(&mut self, tokens: usize) -> Result<(), RunnerError> {
        self.session.reserve(tokens as u32).map_err(remote)?;
        self.measure()
    }

    fn truncate(&mut self, position: usize) {
        // If the sandbox is over, the next step says so.
        if position < self.position && self.session.truncate(position as u32).is_ok() {
            self.position = position;
        }
    }

    fn fork(&self, positions: usize) -> Result<Self, RunnerError> {
        let session = self.session.fork(positions as u32).map_err(remote)?;
        let position = positions.min(self.position);
        let (capacity, hidden_size) = (self.capacity, self.hidden_size);
        let mut fork = SandboxedSession { session, position, capacity, hidden_size, cache_bytes: 0 };
        fork.measure()?;
        Ok(fork)
    }

    fn prefill_hidden(&mut self, tokens: &[TokenId], each: impl FnMut(&[f32])) -> Result<(), RunnerError> {
        let states = self.session.hidden_states(tokens).map_err(remote)?;
        let (expected, actual) = (tokens.len() * self.hidden_size, states.len());
        if actual != expected {
            return Err(RunnerError::HiddenStates { tokens: tokens.len(), expected, actual });
        }
        self.position += tokens.len();
        states.chunks_exact(self.hidden_size).for_each(each);
        self.measure()
    }
}
