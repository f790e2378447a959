//! The protocol between a worker and the benchmark: one JSON object per line.
//!
//! A worker is a program that runs one engine with one model and one number of threads, so that memory, CPU time and cold
//! start belong to that engine alone. It writes [`Hello`] when it is ready to run a prompt, then answers each [`Request`]
//! on stdin with an [`Answer`] on stdout, and exits when its input ends. docs/benchmark-report.md describes it for authors of
//! workers.

use edgellm::TokenId;
use serde::{Deserialize, Serialize};

/// A worker's first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hello {
    /// It is ready.
    Ready(Ready),
    /// Something that it needs is missing: a package, a program, a file. The text says what, and how to get it.
    Absent(String),
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The engine and its version, for display.
    pub engine: String,
    /// The weights' format, such as `int4` or `Q4_1`.
    pub variant: String,
    /// The kernels or build in use, if the engine reports it.
    #[serde(default)]
    pub kernel: String,
    /// Threads actually used.
    pub threads: usize,
    /// Milliseconds it took to load the model, by the worker's clock.
    pub load_ms: f64,
    /// Bytes of weights that decoding one token reads.
    #[serde(default)]
    pub weight_bytes_per_token: Option<u64>,
}

/// A prompt to run from an empty context, greedily, ignoring end tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Tokens of the prompt.
    pub prompt: Vec<TokenId>,
    /// The same as text, for engines that accept only that.
    pub text: String,
    /// Tokens to generate.
    pub generate: usize,
    /// Also hash the logits of each token, which takes time: such a run is not timed.
    #[serde(default)]
    pub hash: bool,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It ran.
    Done(Done),
    /// It did not, and why.
    Failed(String),
}

/// A run's tokens and times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The generated tokens; empty where the engine tells only text.
    pub token_ids: Vec<TokenId>,
    /// The generated text, where there are no ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Milliseconds of the prompt alone; absent where the engine does not tell it from the first token.
    #[serde(default)]
    pub prefill_ms: Option<f64>,
    /// Milliseconds from the request to the first token.
    pub ttft_ms: f64,
    /// Milliseconds between a token and the one before, from the second on.
    pub inter_token_ms: Vec<f64>,
    /// Hash of the logits of all tokens, where asked for and where the engine has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits_hash: Option<String>,
}
