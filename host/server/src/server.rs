//! The server's state, and the app that answers requests.

use crate::access::{ApiKeys, Rates};
use crate::metrics::Metrics;
use crate::options::Options;
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
    rates: Option<Rates>,
    metrics: Metrics,
    models: Arc<Models>,
    ready: AtomicBool,
    draining: AtomicBool,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing to serve.
    #[error("there is no model to serve: give at least one")]
    NoModels,
    /// Requests could not tell them apart.
    #[error("two models are called {0:?}: give one of them another name")]
    SameName(String),
    /// The metrics contradict each other.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl Server {
    /// A server that has not loaded its models yet: [`Server::load`] does.
    ///
    /// # Errors
    /// [`ServerError`] without models, or if two have one name.
    pub fn new(sources: Vec<ModelSource>, options: Options, keys: ApiKeys) -> Result<Self, ServerError> {
        if sources.is_empty() {
            return Err(ServerError::NoModels);
        }
        for (index, source) in sources.iter().enumerate() {
            if sources[..index].iter().any(|other| other.id == source.id) {
                return Err(ServerError::SameName(source.id.clone()));
            }
        }
        let metrics = Metrics::new()?;
        let models = Arc::new(Models::new(sources, options.clone(), metrics.clone()));
        let rates = options.rate_limit.map(Rates::new);
        let (ready, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Server(Arc::new(Inner { options, keys, rates, metrics, models, ready, draining })))
    }

    /// Loads the first models, as many as may be in memory; until then `/health` says so.
    ///
    /// # Errors
    /// If one cannot be loaded; the log says why.
    pub async fn load(&self) -> Result<(), crate::ApiError> {
        let ids: Vec<&str> = self.models().sources().iter().map(|source| source.id.as_str()).collect();
        for id in ids.iter().take(self.options().max_loaded.max(1)) {
            self.models().get(Some(id)).await?;
        }
        self.0.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Forgets, now and then, what is no longer of use.
    pub(crate) async fn tidy(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            if let Some(rates) = self.rates() {
                rates.forget();
            }
        }
    }

    /// From now on `/health` says that the server ends.
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

    pub(crate) fn rates(&self) -> Option<&Rates> {
        self.0.rates.as_ref()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn models(&self) -> &Arc<Models> {
        &self.0.models
    }
}
