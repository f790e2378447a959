//! The models of a server: those it offers, and those in memory.

use crate::clock::now;
use crate::error::ApiError;
use crate::grammar::{Constraint, GrammarError, Grammars, Shape};
use crate::metrics::{Metrics, ModelMetrics};
use crate::options::{Limits, Options};
use crate::runner::{Native, Runner};
use crate::scheduler::{Scheduler, StartError};
use edgellm::chat::{ChatTemplate, DateTime};
use edgellm::{Model, SessionOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a request waits for a busy model to make room.
const PATIENCE: Duration = Duration::from_secs(5);

/// A model that the server offers, and how to open it.
pub struct ModelSource {
    /// What requests call it.
    pub id: String,
    /// When its file was written, in seconds since 1970.
    pub created: u64,
    /// Options of its sessions. The context is that of the server.
    pub session: SessionOptions,
    /// The file that clients may download, if any.
    pub file: Option<PathBuf>,
    /// Opens it, on the blocking pool.
    pub open: Box<dyn Fn() -> Result<OpenModel, OpenError> + Send + Sync>,
}

/// Why a model cannot be opened. The error says what to do.
pub type OpenError = Box<dyn std::error::Error + Send + Sync>;

/// An open model, and what runs it.
pub struct OpenModel {
    model: Model,
    start: Start,
}

/// Starts the scheduler of a model.
type Start =
    Box<dyn FnOnce(&Model, SessionOptions, Limits, ModelMetrics) -> Result<Scheduler, StartError> + Send>;

impl OpenModel {
    /// A model whose forward passes `runner` executes. This process tokenizes and samples with `model`.
    pub fn with_runner(model: Model, runner: impl Runner) -> Self {
        let start: Start = Box::new(|model, session, limits, metrics| {
            Scheduler::start(model, runner, session, limits, metrics)
        });
        OpenModel { model, start }
    }
}

impl From<Model> for OpenModel {
    /// A model that the engine in this process runs.
    fn from(model: Model) -> Self {
        let runner = Native::new(&model);
        OpenModel::with_runner(model, runner)
    }
}

impl std::fmt::Debug for OpenModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenModel").field("model", &self.model).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelSource").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A model in memory.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) id: String,
    pub(crate) model: Model,
    pub(crate) scheduler: Scheduler,
    /// Tokens of a sequence, at most.
    pub(crate) context: usize,
    grammars: OnceLock<Result<Grammars, GrammarError>>,
    /// The tick of its last use.
    used: AtomicU64,
}

/// All models.
#[derive(Debug)]
pub(crate) struct Models {
    sources: Vec<ModelSource>,
    loaded: RwLock<Vec<Arc<Loaded>>>,
    /// Held while a model is being loaded or dropped.
    loading: tokio::sync::Mutex<()>,
    ticks: AtomicU64,
    options: Options,
    metrics: Metrics,
}

impl Models {
    pub(crate) fn new(sources: Vec<ModelSource>, options: Options, metrics: Metrics) -> Self {
        let loaded = RwLock::default();
        let loading = tokio::sync::Mutex::new(());
        Models { sources, loaded, loading, ticks: AtomicU64::new(0), options, metrics }
    }

    /// All models that the server offers.
    pub(crate) fn sources(&self) -> &[ModelSource] {
        &self.sources
    }

    /// The model that a request names; without a name, the first.
    pub(crate) fn source(&self, name: Option<&str>) -> Result<&ModelSource, ApiError> {
        let found = match name {
            None => self.sources.first(),
            Some(name) => self.sources.iter().find(|source| source.id == name),
        };
        let there_are = || self.sources.iter().map(|source| source.id.as_str()).collect::<Vec<_>>();
        found.ok_or_else(|| ApiError::no_model(name.unwrap_or_default(), &there_are()))
    }

    /// All models in memory.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The model that a request names, if it is in memory.
    pub(crate) fn in_memory(&self, name: Option<&str>) -> Result<Option<Arc<Loaded>>, ApiError> {
        Ok(self.find(&self.source(name)?.id))
    }

    /// The model that a request names, loaded if it is not.
    pub(crate) async fn get(self: &Arc<Self>, name: Option<&str>) -> Result<Arc<Loaded>, ApiError> {
        let id = &self.source(name)?.id;
        if let Some(loaded) = self.find(id) {
            return Ok(loaded);
        }
        let _loading = self.loading.lock().await;
        if let Some(loaded) = self.find(id) {
            return Ok(loaded);
        }
        self.make_room().await?;
        let (models, id) = (Arc::clone(self), id.clone());
        let loaded = tokio::task::spawn_blocking(move || models.open(&id)).await;
        let loaded = loaded.map_err(|_| ApiError::internal("opening the model failed")).flatten()?;
        self.update(|all| all.push(Arc::clone(&loaded)));
        Ok(loaded)
    }

    fn find(&self, id: &str) -> Option<Arc<Loaded>> {
        let all = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|loaded| loaded.id == id)?;
        found.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(Arc::clone(found))
    }

    /// Unloads the least recently used model if the maximum is reached. Waits a while if all are busy.
    async fn make_room(&self) -> Result<(), ApiError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.loaded();
            if all.len() < self.options.max_loaded.max(1) {
                return Ok(());
            }
            let idle = all.iter().filter(|loaded| loaded.scheduler.busy() == 0);
            if let Some(oldest) = idle.min_by_key(|loaded| loaded.used.load(Ordering::Relaxed)) {
                tracing::info!(model = oldest.id, "unloaded");
                self.update(|all| all.retain(|loaded| loaded.id != oldest.id));
                return Ok(());
            }
            if Instant::now() > deadline {
                let message =
                    "the server cannot load the model because all loaded models are busy: try again later";
                return Err(ApiError::unavailable("models_busy", message, 5));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn update(&self, change: impl FnOnce(&mut Vec<Arc<Loaded>>)) {
        let mut all = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        self.metrics.loaded.set(all.len() as i64);
    }

    fn open(&self, id: &str) -> Result<Arc<Loaded>, ApiError> {
        let source = self.source(Some(id))?;
        let failed = |error: OpenError| {
            tracing::error!(model = id, error = error.to_string(), "cannot be loaded");
            ApiError::internal(format!("the model {id:?} cannot be loaded: see the server's log"))
        };
        let OpenModel { model, start } = (source.open)().map_err(failed)?;
        let context = self.options.context.min(model.config().max_position_embeddings);
        let session = SessionOptions { context_length: Some(context), ..source.session };
        let limits = self.options.limits;
        let scheduler =
            start(&model, session, limits, self.metrics.model(id)).map_err(|error| failed(error.into()))?;
        tracing::info!(model = id, context, "loaded");
        let used = AtomicU64::new(self.ticks.fetch_add(1, Ordering::Relaxed));
        Ok(Arc::new(Loaded { id: id.into(), model, scheduler, context, grammars: OnceLock::new(), used }))
    }
}

impl Loaded {
    /// The model's chat template, with today's date.
    pub(crate) fn template(&self) -> Result<ChatTemplate, ApiError> {
        let refused = |message: String| ApiError::field("model", message);
        let template = self.model.chat_template().map_err(|error| refused(error.to_string()))?;
        let template = template
            .ok_or_else(|| refused(format!("{} has no chat template: use /v1/completions", self.id)))?;
        Ok(template.with_date(DateTime::from_unix(i64::try_from(now()).unwrap_or(0))))
    }

    /// The constraint that `shape` asks for, if any.
    pub(crate) fn constraint(&self, shape: &Shape) -> Result<Option<Constraint>, GrammarError> {
        match self.grammars.get_or_init(|| Grammars::new(&self.model)) {
            Ok(grammars) => grammars.constraint(shape),
            Err(error) => Err(error.clone()),
        }
    }
}
