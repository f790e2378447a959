//! The report: figures, model, machine. docs/benchmark-report.md describes its JSON.

mod charts;
mod csv;
mod html;
mod markdown;

use crate::machine::Machine;
use crate::statistics::Figure;
use serde::{Deserialize, Serialize};

pub use csv::csv;
pub use html::html;
pub use markdown::markdown;

/// Name and version of the JSON's schema. Fields may be added under the same version; none changes its meaning.
pub const SCHEMA: &str = "edgellm-benchmark/1";

/// The results of one benchmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// EdgeLLM's version.
    pub version: String,
    /// Commit of the source tree that the program was run from, with `-dirty` if it was modified.
    pub commit: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// Start, UTC, ISO 8601.
    pub started: String,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Whether it was interrupted before all runs were done.
    pub interrupted: bool,
    /// The machine.
    pub machine: Machine,
    /// The model.
    pub model: ModelFile,
    /// The options.
    pub settings: Settings,
    /// Targets and peers that could not be measured, and why.
    pub absent: Vec<Absent>,
    /// One row for each target, number of threads and prompt length.
    pub rows: Vec<Row>,
    /// Results of `edgellm evaluate`, if given.
    #[serde(default)]
    pub quality: Vec<serde_json::Value>,
}

/// The model file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Name of the model.
    pub name: String,
    /// Format of the weights.
    pub format: String,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The file that peers read, if there is one.
    pub peer_file: Option<PeerFile>,
}

/// The GGUF file that peers read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerFile {
    /// Its name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: String,
}

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Measured runs of each cell, if the time suffices.
    pub iterations: usize,
    /// Warm-up runs of each cell, which are not counted.
    pub warmup: usize,
    /// Cold starts for each target and number of threads.
    pub cold_starts: usize,
    /// Tokens of the prompts.
    pub prompt_lengths: Vec<usize>,
    /// Tokens generated in each run.
    pub generate: usize,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Time limit for everything; slow cells get fewer runs to meet it.
    pub minutes: Option<f64>,
}

/// What could not be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Absent {
    /// Name of the target or peer.
    pub target: String,
    /// What is missing, and how to get it.
    pub reason: String,
}

/// One target with one number of threads and one prompt length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `native`, `plugin`, `browser`, or a peer's name.
    pub target: String,
    /// The engine and its version.
    pub engine: String,
    /// The weights' format.
    pub variant: String,
    /// Kernels or build.
    pub kernel: String,
    /// Threads.
    pub threads: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// `short`, `medium` or `long`.
    pub category: String,
    /// Hash of the generated tokens (of the text, if a peer does not report tokens).
    pub answer_hash: Option<String>,
    /// Leading generated tokens that equal native's.
    pub agreeing_tokens: Option<usize>,
    /// Hash of all logits, EdgeLLM's targets only.
    pub logits_hash: Option<String>,
    /// Why there are no figures, or fewer: a different answer than native's, a crash.
    pub problem: Option<String>,
    /// Milliseconds from starting the process to its first token after the shortest prompt, file in the page cache.
    pub cold_start_ms: Option<Figure>,
    /// Milliseconds of loading the model, by the worker's own clock, in the same processes.
    pub load_ms: Option<Figure>,
    /// Milliseconds from the prompt to the first token.
    pub ttft_ms: Option<Figure>,
    /// Prompt tokens per second.
    pub prefill_tokens_per_second: Option<Figure>,
    /// Generated tokens per second, from the second on, one sample per run.
    pub decode_tokens_per_second: Option<Figure>,
    /// Milliseconds between consecutive tokens, of all runs.
    pub inter_token_ms: Option<Figure>,
    /// Their p99 - p50.
    pub jitter_ms: Option<f64>,
    /// Largest resident memory of the process and its children so far, after each run.
    pub peak_rss_bytes: Option<Figure>,
    /// Resident memory after each run.
    pub steady_rss_bytes: Option<Figure>,
    /// CPU time over wall time: 200 is two fully used cores.
    pub cpu_percent: Option<Figure>,
    /// Bytes of weights read per token.
    pub weight_bytes_per_token: Option<u64>,
    /// That times tokens per second, over the machine's bandwidth with as many threads.
    pub bandwidth_share: Option<f64>,
    /// Energy of a run, prompt included, over its generated tokens; absent without a meter.
    pub joules_per_token: Option<Figure>,
    /// The samples behind the figures.
    pub samples: Samples,
}

/// Samples, one per run, in the order of the runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// See [`Row::ttft_ms`].
    pub ttft_ms: Vec<f64>,
    /// See [`Row::prefill_tokens_per_second`].
    pub prefill_tokens_per_second: Vec<f64>,
    /// See [`Row::decode_tokens_per_second`].
    pub decode_tokens_per_second: Vec<f64>,
    /// See [`Row::cold_start_ms`].
    pub cold_start_ms: Vec<f64>,
    /// Times between tokens of the last run.
    pub trace_ms: Vec<f64>,
}

impl Row {
    /// The names of the row's figures, with them.
    pub fn figures(&self) -> [(&'static str, Option<&Figure>); 10] {
        [
            ("cold_start_ms", self.cold_start_ms.as_ref()),
            ("load_ms", self.load_ms.as_ref()),
            ("ttft_ms", self.ttft_ms.as_ref()),
            ("prefill_tokens_per_second", self.prefill_tokens_per_second.as_ref()),
            ("decode_tokens_per_second", self.decode_tokens_per_second.as_ref()),
            ("inter_token_ms", self.inter_token_ms.as_ref()),
            ("peak_rss_bytes", self.peak_rss_bytes.as_ref()),
            ("steady_rss_bytes", self.steady_rss_bytes.as_ref()),
            ("cpu_percent", self.cpu_percent.as_ref()),
            ("joules_per_token", self.joules_per_token.as_ref()),
        ]
    }

    /// Target and number of threads, for display.
    pub fn label(&self) -> String {
        format!("{} {}T", self.target, self.threads)
    }
}
