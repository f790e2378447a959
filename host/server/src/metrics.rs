//! Metrics of a server, in Prometheus' text format.

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// All metrics of a server.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// By path and status.
    pub(crate) requests: IntCounterVec,
    /// Rejected requests, by reason.
    pub(crate) rejected: IntCounterVec,
    pub(crate) connections: IntGauge,
    pub(crate) preparations_waiting: IntGauge,
    pub(crate) preparations_running: IntGauge,
    /// Those that were running when their client left or their time was over.
    pub(crate) preparations_given_up: IntCounter,
    prompt_tokens: IntCounterVec,
    cached_tokens: IntCounterVec,
    completion_tokens: IntCounterVec,
    finished: IntCounterVec,
    queue: IntGaugeVec,
    active: IntGaugeVec,
    paused: IntGaugeVec,
    kv_bytes: IntGaugeVec,
    prefix_bytes: IntGaugeVec,
    pub(crate) loaded: IntGauge,
    ttft: HistogramVec,
    inter_token: HistogramVec,
    queue_time: HistogramVec,
}

/// The metrics of one model.
#[derive(Clone, Debug)]
pub(crate) struct ModelMetrics {
    pub(crate) prompt_tokens: IntCounter,
    pub(crate) cached_tokens: IntCounter,
    pub(crate) completion_tokens: IntCounter,
    finished: IntCounterVec,
    id: String,
    pub(crate) queue: IntGauge,
    pub(crate) active: IntGauge,
    pub(crate) paused: IntGauge,
    pub(crate) kv_bytes: IntGauge,
    pub(crate) prefix_bytes: IntGauge,
    pub(crate) ttft: Histogram,
    pub(crate) inter_token: Histogram,
    pub(crate) queue_time: Histogram,
}

/// Buckets in seconds: from fast machines to slow boards.
const INTER_TOKEN: &[f64] =
    &[0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5];
const FIRST_TOKEN: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// If two have the same name, which a test rules out.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let model = &["model"];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge =
            |name: &str, help: &str| registered(&registry, IntGaugeVec::new(Opts::new(name, help), model)?);
        let plain = |name: &str, help: &str| registered(&registry, IntGauge::new(name, help)?);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(&registry, HistogramVec::new(options, model)?)
        };
        Ok(Metrics {
            requests: counter(
                "edgellm_requests_total",
                "Requests answered, by path and status",
                &["path", "status"],
            )?,
            rejected: counter("edgellm_rejected_total", "Requests rejected, by reason", &["reason"])?,
            connections: plain("edgellm_connections", "Open connections")?,
            preparations_waiting: plain(
                "edgellm_preparations_waiting",
                "Requests that wait for a preparation slot",
            )?,
            preparations_running: plain(
                "edgellm_preparations_running",
                "Preparation slots that are occupied, also by work that was given up",
            )?,
            preparations_given_up: registered(
                &registry,
                IntCounter::new(
                    "edgellm_preparations_given_up_total",
                    "Running preparations whose client left or whose time was over",
                )?,
            )?,
            loaded: plain("edgellm_models_loaded", "Models in memory")?,
            prompt_tokens: counter(
                "edgellm_prompt_tokens_total",
                "Tokens of prompts, cached ones included",
                model,
            )?,
            cached_tokens: counter(
                "edgellm_cached_tokens_total",
                "Tokens of prompts that the prefix cache had",
                model,
            )?,
            completion_tokens: counter("edgellm_completion_tokens_total", "Tokens generated", model)?,
            finished: counter(
                "edgellm_sequences_finished_total",
                "Sequences that ended, by reason",
                &["model", "reason"],
            )?,
            queue: gauge("edgellm_queue_depth", "Requests that wait for a place")?,
            active: gauge("edgellm_active_sequences", "Sequences being processed")?,
            paused: gauge(
                "edgellm_paused_sequences",
                "Sequences that gave up their places to other clients for a while",
            )?,
            kv_bytes: gauge(
                "edgellm_kv_cache_bytes",
                "Bytes of all key-value caches, kept prefixes included",
            )?,
            prefix_bytes: gauge(
                "edgellm_prefix_cache_bytes",
                "Bytes of key-value caches kept for later requests",
            )?,
            ttft: histogram(
                "edgellm_time_to_first_token_seconds",
                "From a request's arrival to its first token",
                FIRST_TOKEN,
            )?,
            inter_token: histogram(
                "edgellm_inter_token_seconds",
                "Between two tokens of a sequence",
                INTER_TOKEN,
            )?,
            queue_time: histogram(
                "edgellm_queue_seconds",
                "From a request's arrival to the beginning of its work",
                FIRST_TOKEN,
            )?,
            registry,
        })
    }

    /// The metrics of the model `id`.
    pub(crate) fn model(&self, id: &str) -> ModelMetrics {
        let label = &[id];
        ModelMetrics {
            prompt_tokens: self.prompt_tokens.with_label_values(label),
            cached_tokens: self.cached_tokens.with_label_values(label),
            completion_tokens: self.completion_tokens.with_label_values(label),
            finished: self.finished.clone(),
            id: id.to_string(),
            queue: self.queue.with_label_values(label),
            active: self.active.with_label_values(label),
            paused: self.paused.with_label_values(label),
            kv_bytes: self.kv_bytes.with_label_values(label),
            prefix_bytes: self.prefix_bytes.with_label_values(label),
            ttft: self.ttft.with_label_values(label),
            inter_token: self.inter_token.with_label_values(label),
            queue_time: self.queue_time.with_label_values(label),
        }
    }

    /// All of them as text.
    pub(crate) fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail; after any other error the beginning is still useful.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl ModelMetrics {
    /// Counts the end of a sequence: `stop`, `length`, `cancelled` or `failed`.
    pub(crate) fn ended(&self, reason: &str) {
        self.finished.with_label_values(&[self.id.as_str(), reason]).inc();
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
