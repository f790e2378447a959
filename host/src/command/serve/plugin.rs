//! `edgellm serve --target plugin`: each model's steps run in a sandbox of its own.
//!
//! Prompts become tokens and logits become answers here, with what the file says about its tokenizer and template; the
//! weights are read and multiplied in the sandbox alone. A sandbox that comes to its end is replaced by a new one.

use crate::args::{RunArgs, TargetArgs};
use crate::cache::Cache;
use crate::error;
use crate::{model, plugin};
use edgellm::{Compute, SessionOptions, TokenId};
use edgellm_memory::Placement;
use edgellm_plugin_host::{Batch, BatchRun, Error, Model, Plugin, Session};
use edgellm_server::{OpenModel, Run, Runner, Sequence};
use std::path::{Path, PathBuf};

/// What opens models in sandboxes.
pub(super) struct Sandboxes {
    plugin: Plugin,
    kv_memory: u64,
}

impl Sandboxes {
    pub(super) fn new(
        args: &TargetArgs,
        run: &RunArgs,
        kv_memory: u64,
        cache: &Cache,
    ) -> error::Result<Self> {
        Ok(Sandboxes { plugin: plugin::load(args, run, cache)?, kv_memory })
    }

    /// A function that opens the model file at `path`.
    pub(super) fn opener(&self, path: &Path) -> impl Fn() -> Result<OpenModel, String> + use<> {
        let (plugin, path, kv_memory) = (self.plugin.clone(), path.to_path_buf(), self.kv_memory);
        move || {
            let model = model::open(&path, Compute::default(), Placement::Mapped)
                .map_err(|error| error.one_line())?;
            let vocab_size = model.config().vocab_size;
            let opened = Opened { plugin: plugin.clone(), path: path.clone(), kv_memory, vocab_size };
            let sandbox = opened.sandbox()?;
            Ok(OpenModel::with_runner(model, Sandboxed { opened, sandbox, logits: Vec::new() }))
        }
    }
}

/// How to open the model anew.
struct Opened {
    plugin: Plugin,
    path: PathBuf,
    kv_memory: u64,
    vocab_size: usize,
}

impl Opened {
    fn sandbox(&self) -> Result<(Model, Batch), String> {
        let model =
            plugin::open(&self.plugin, &self.path, self.kv_memory).map_err(|error| error.one_line())?;
        let batch = model.batch().map_err(text)?;
        Ok((model, batch))
    }
}

/// A model in its sandbox.
struct Sandboxed {
    opened: Opened,
    sandbox: (Model, Batch),
    logits: Vec<f32>,
}

fn text(error: Error) -> String {
    error.to_string()
}

impl Runner for Sandboxed {
    type Session = SandboxedSession;

    fn session(&mut self, options: SessionOptions) -> Result<SandboxedSession, String> {
        let model = &self.sandbox.0;
        let session = model.session(plugin::session_options(options)).map_err(text)?;
        let capacity = session.capacity().map_err(text)?;
        let hidden_size = model.info().hidden_size as usize;
        Ok(SandboxedSession { session, position: 0, capacity, hidden_size, cache_bytes: 0 })
    }

    fn run(&mut self, runs: &mut [Run<'_, SandboxedSession>]) -> Result<&mut [f32], String> {
        let batch_runs: Vec<BatchRun<'_>> = runs
            .iter_mut()
            .map(|Run { session, tokens, logits }| BatchRun {
                session: &mut session.session,
                tokens,
                logits: *logits,
            })
            .collect();
        self.logits = self.sandbox.1.run(&batch_runs).map_err(text)?;
        let wanted = runs.iter().filter(|run| run.logits).count() * self.opened.vocab_size;
        if self.logits.len() != wanted {
            return Err(format!("the sandbox gave {} logits in place of {wanted}", self.logits.len()));
        }
        for run in runs {
            run.session.position += run.tokens.len();
            run.session.measure()?;
        }
        Ok(&mut self.logits)
    }

    fn restart(&mut self) -> Result<(), String> {
        self.sandbox = self.opened.sandbox()?;
        Ok(())
    }
}

/// A session in the sandbox. What the server reckons with is counted here and not asked of the guest.
#[derive(Debug)]
struct SandboxedSession {
    session: Session,
    position: usize,
    capacity: usize,
    hidden_size: usize,
    cache_bytes: u64,
}

impl SandboxedSession {
    fn measure(&mut self) -> Result<(), String> {
        self.cache_bytes = self.session.cache_bytes().map_err(text)?;
        Ok(())
    }
}

impl Sequence for SandboxedSession {
    fn position(&self) -> usize {
        self.position
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    fn reserve(&mut self, tokens: usize) -> Result<(), String> {
        self.session.reserve(tokens as u32).map_err(text)?;
        self.measure()
    }

    fn truncate(&mut self, position: usize) {
        // If the sandbox is over, the next step says so.
        if position < self.position && self.session.truncate(position as u32).is_ok() {
            self.position = position;
        }
    }

    fn fork(&self, positions: usize) -> Result<Self, String> {
        let session = self.session.fork(positions as u32).map_err(text)?;
        let position = positions.min(self.position);
        let (capacity, hidden_size) = (self.capacity, self.hidden_size);
        let mut fork = SandboxedSession { session, position, capacity, hidden_size, cache_bytes: 0 };
        fork.measure()?;
        Ok(fork)
    }

    fn prefill_hidden(&mut self, tokens: &[TokenId], each: impl FnMut(&[f32])) -> Result<(), String> {
        let states = self.session.hidden_states(tokens).map_err(text)?;
        if states.len() != tokens.len() * self.hidden_size {
            return Err(format!("the sandbox gave {} numbers for {} tokens", states.len(), tokens.len()));
        }
        self.position += tokens.len();
        states.chunks_exact(self.hidden_size).for_each(each);
        self.measure()
    }
}
