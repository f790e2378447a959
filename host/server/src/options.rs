//! What a server allows.

use std::time::Duration;

/// Limits and settings of a server. The defaults are those of `edgellm serve`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most tokens of a prompt and its answer together; the model's own limit where that is smaller.
    pub context: usize,
    /// Most tokens of an answer; `None` for what the context leaves.
    pub max_tokens: Option<usize>,
    /// Sequences that are generated at the same time, per model.
    pub parallel: usize,
    /// Requests that wait for a place, per model; more are refused with 503.
    pub queue: usize,
    /// Prompt tokens processed beside one token of every running sequence: fewer give steadier streams, more
    /// a sooner first token under load.
    pub prefill_chunk: usize,
    /// Bytes of all key-value caches of a model.
    pub kv_memory: u64,
    /// Bytes of key-value caches of finished sequences kept for requests that begin alike; part of `kv_memory`.
    pub prefix_memory: u64,
    /// Models in memory at the same time.
    pub max_loaded: usize,
    /// Longest time from a request's arrival to its last token.
    pub request_timeout: Duration,
    /// Longest time that a client may take to send a request's body, or to accept bytes of an answer.
    pub client_timeout: Duration,
    /// Longest time that shutting down waits for requests under way.
    pub drain_timeout: Duration,
    /// Connections at the same time; more wait to be accepted.
    pub max_connections: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Texts of one request: choices times prompts, or inputs of an embedding.
    pub max_choices: usize,
    /// Requests per minute of one API key, or of one address where no keys are in use; `None` for no limit.
    pub rate_limit: Option<u32>,
    /// Take the client's address from the last entry of `X-Forwarded-For`, which a reverse proxy wrote.
    pub trust_proxy: bool,
    /// Web origins whose pages may use the server, such as `https://chat.example.org`; `*` for any.
    pub cors_origins: Vec<String>,
    /// Log prompts and answers.
    pub log_prompts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            context: 4096,
            max_tokens: None,
            parallel: 16,
            queue: 64,
            prefill_chunk: 64,
            kv_memory: 2 << 30,
            prefix_memory: 256 << 20,
            max_loaded: usize::MAX,
            request_timeout: Duration::from_secs(600),
            client_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            max_connections: 1024,
            max_body: 4 << 20,
            max_choices: 128,
            rate_limit: None,
            trust_proxy: false,
            cors_origins: Vec::new(),
            log_prompts: false,
        }
    }
}
