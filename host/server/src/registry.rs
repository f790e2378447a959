//! The models of a server: those it offers, and those in memory.

use crate::clock::now;
use crate::error::ApiError;
use crate::grammar::{Constraint, GrammarError, Grammars, Shape};
use crate::metrics::{Metrics, ModelMetrics};
use crate::options::Options;
use crate::runner::{Native, Runner};
use crate::scheduler::{Limits, Scheduler};
use edgellm::chat::{ChatTemplate, DateTime};
use edgellm::{CacheFormat, Model, Precision, TokenId};
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
    /// How finely activations are rounded.
    pub precision: Precision,
    /// How keys and values are kept.
    pub kv_cache: CacheFormat,
    /// The file that clients may download, if any.
    pub file: Option<PathBuf>,
    /// Opens it, on the blocking pool.
    pub open: Box<dyn Fn() -> Result<OpenModel, String> + Send + Sync>,
}

/// An open model, and what runs it.
pub struct OpenModel {
    model: Model,
    start: Start,
}

/// Starts the scheduler of a model.
type Start = Box<dyn FnOnce(&Model, Limits, ModelMetrics) -> Result<Scheduler, String> + Send>;

impl OpenModel {
    /// A model whose forward passes `runner` executes. This process tokenizes and samples with `model`.
    pub fn with_runner(model: Model, runner: impl Runner) -> Self {
        let start: Start =
            Box::new(|model, limits, metrics| Scheduler::start(model, runner, limits, metrics));
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
        let failed = |error: String| {
            tracing::error!(model = id, error, "cannot be loaded");
            ApiError::internal(format!("the model {id:?} cannot be loaded: see the server's log"))
        };
        let OpenModel { model, start } = (source.open)().map_err(failed)?;
        let context = self.options.context.min(model.config().max_position_embeddings);
        let limits = Limits {
            context,
            parallel: self.options.parallel,
            queue: self.options.queue,
            prefill_chunk: self.options.prefill_chunk,
            kv_memory: self.options.kv_memory,
            prefix_memory: self.options.prefix_memory,
            precision: source.precision,
            kv_cache: source.kv_cache,
        };
        let scheduler = start(&model, limits, self.metrics.model(id)).map_err(failed)?;
        tracing::info!(model = id, context, "loaded");
        let used = AtomicU64::new(self.ticks.fetch_add(1, Ordering::Relaxed));
        Ok(Arc::new(Loaded { id: id.into(), model, scheduler, context, grammars: OnceLock::new(), used }))
    }
}

impl Loaded {
    /// The model's chat template, with today's date.
    pub(crate) fn template(&self) -> Result<ChatTemplate, ApiError> {
        let Some(source) = &self.model.metadata().chat_template else {
            let message = format!("{} has no chat template: use /v1/completions", self.id);
            return Err(ApiError::field("model", message));
        };
        let config = self.model.config();
        let text = |id: Option<TokenId>| {
            id.and_then(|id| self.model.tokenizer().id_to_token(id)).unwrap_or_default()
        };
        let (bos, eos) = (text(config.bos_token_id), text(config.eos_token_ids.first().copied()));
        let now = DateTime::from_unix(i64::try_from(now()).unwrap_or(0));
        let template = ChatTemplate::new(source.as_str(), bos, eos);
        Ok(template.map_err(|error| ApiError::field("model", error.to_string()))?.with_date(now))
    }

    /// The constraint that `shape` asks for, if any.
    pub(crate) fn constraint(&self, shape: &Shape) -> Result<Option<Constraint>, GrammarError> {
        match self.grammars.get_or_init(|| Grammars::new(&self.model)) {
            Ok(grammars) => grammars.constraint(shape),
            Err(error) => Err(error.clone()),
        }
    }
}
