//! The server's state.

use crate::access::{ApiKeys, Rates};
use crate::error::ApiError;
use crate::host::AllowedHosts;
use crate::memory::BodyMemory;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::preparation::{Preparations, Rules};
use crate::registry::{ModelSource, Models};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A server: models, limits and keys. Clones share everything.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    keys: ApiKeys,
    allowed_hosts: AllowedHosts,
    rates: Option<Rates>,
    body_memory: Arc<BodyMemory>,
    metrics: Metrics,
    models: Arc<Models>,
    preparations: Preparations,
    ready: AtomicBool,
    draining: AtomicBool,
}

/// Why a server cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no model.
    #[error("there is no model to serve: give at least one")]
    NoModels,
    /// Requests could not distinguish the models.
    #[error("two models are named {0:?}: rename one of them")]
    SameName(String),
    /// Requests could never address the server by it.
    #[error(
        "the allowed host {0:?} is no host name: give a name such as board.local, without scheme and port and in ASCII \
        (Punycode), or * for any"
    )]
    AllowedHost(String),
    /// The metrics are inconsistent.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The operating system refuses another thread.
    #[error("cannot start the threads that prepare requests: {0}")]
    Threads(#[source] std::io::Error),
}

impl Server {
    /// A server without loaded models: [`Server::load`] loads them.
    ///
    /// # Errors
    /// [`ServerError`] without models, if two have the same name, if an allowed host is no host name, or if no thread can be
    /// started.
    pub fn new(sources: Vec<ModelSource>, options: Options, keys: ApiKeys) -> Result<Self, ServerError> {
        if sources.is_empty() {
            return Err(ServerError::NoModels);
        }
        for (index, source) in sources.iter().enumerate() {
            if sources[..index].iter().any(|other| other.id == source.id) {
                return Err(ServerError::SameName(source.id.clone()));
            }
        }
        let allowed_hosts = AllowedHosts::parse(&options.allowed_hosts).map_err(ServerError::AllowedHost)?;
        let metrics = Metrics::new()?;
        let models = Arc::new(Models::new(sources, options.clone(), metrics.clone()));
        let rates = options.rate_limit.map(Rates::new);
        let rules = Rules::new(options.limits.queue, options.preparation_timeout);
        let preparations = Preparations::start(rules, metrics.clone()).map_err(ServerError::Threads)?;
        let body_memory = BodyMemory::new(options.max_body);
        let (ready, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Server(Arc::new(Inner {
            options,
            keys,
            allowed_hosts,
            rates,
            body_memory,
            metrics,
            models,
            preparations,
            ready,
            draining,
        })))
    }

    /// Loads models, the first ones, as many as may be in memory. Until then `/health` says `loading`.
    ///
    /// # Errors
    /// If one cannot be loaded; the log has the reason.
    pub async fn load(&self) -> Result<(), ApiError> {
        let ids: Vec<&str> = self.models().sources().iter().map(|source| source.id.as_str()).collect();
        for id in ids.iter().take(self.options().max_loaded.max(1)) {
            self.models().get(Some(id)).await?;
        }
        self.0.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Releases memory of rate limits that are no longer needed, once a minute.
    pub(crate) async fn tidy(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            if let Some(rates) = self.rates() {
                rates.forget();
            }
        }
    }

    /// From now on `/health` says `draining`.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Ends all sequences.
    pub(crate) fn abort(&self) {
        self.models().loaded().iter().for_each(|loaded| loaded.scheduler.abort());
    }

    /// `ok`, `loading` or `draining`.
    pub(crate) fn health(&self) -> &'static str {
        match (self.0.draining.load(Ordering::Acquire), self.0.ready.load(Ordering::Acquire)) {
            (true, _) => "draining",
            (false, true) => "ok",
            (false, false) => "loading",
        }
    }

    /// Limits and settings.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn keys(&self) -> &ApiKeys {
        &self.0.keys
    }

    pub(crate) fn allowed_hosts(&self) -> &AllowedHosts {
        &self.0.allowed_hosts
    }

    pub(crate) fn rates(&self) -> Option<&Rates> {
        self.0.rates.as_ref()
    }

    pub(crate) fn body_memory(&self) -> &Arc<BodyMemory> {
        &self.0.body_memory
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn preparations(&self) -> &Preparations {
        &self.0.preparations
    }

    pub(crate) fn models(&self) -> &Arc<Models> {
        &self.0.models
    }
}
