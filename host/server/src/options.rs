//! Limits and settings of a server.

use std::time::Duration;

/// Limits and settings of a server. The defaults are those of `edgellm serve`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tokens of a prompt and its answer, at most; the limit of the model where that is smaller.
    pub context: usize,
    /// Tokens of an answer, at most; `None` for as many as the context has room for.
    pub max_tokens: Option<usize>,
    /// What each model may use.
    pub limits: Limits,
    /// Models in memory at the same time.
    pub max_loaded: usize,
    /// Time limit from the arrival of a request to its last token.
    pub request_timeout: Duration,
    /// Time limit for the preparation of a request: reading, rendering and tokenizing it, and compiling its grammar. The time
    /// in the queue does not count.
    pub preparation_timeout: Duration,
    /// Time limit for a client to send the headers of its next request, and then the body; and how long bytes of an answer
    /// may wait for it, to which each KiB that it takes adds a second.
    pub client_timeout: Duration,
    /// Time limit for running requests to finish when the server shuts down.
    pub drain_timeout: Duration,
    /// Open connections, of which one address may have three quarters. When they are in use, the one that has waited
    /// longest for a request is closed; while all are at work, up to [`SPARE_CONNECTIONS`](crate::SPARE_CONNECTIONS)
    /// further ones get 503, and `/health`.
    pub max_connections: usize,
    /// Bytes of a request body.
    pub max_body: usize,
    /// Choices times prompts of a request. An embedding may have 2048 inputs.
    pub max_choices: usize,
    /// Requests per minute for an API key, or for an address if there are no keys; `None` for no limit. One with several
    /// sequences counts as many times: choices times prompts, or inputs.
    pub rate_limit: Option<u32>,
    /// Take the client's address from the last entry of `X-Forwarded-For`, which a reverse proxy must set.
    pub trust_proxy: bool,
    /// Names by which requests may address a server without API keys, besides `localhost` and IP addresses; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// Origins whose web pages may use the server, such as `https://chat.example.org`; `*` for any.
    pub cors_origins: Vec<String>,
    /// Log prompts and answers.
    pub log_prompts: bool,
    /// Take special tokens that are written in messages and tools for tokens instead of text.
    pub parse_special_in_content: bool,
}

/// What each model's scheduler may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sequences that run at the same time.
    pub parallel: usize,
    /// Requests that wait in the queue; further ones are refused with 503. In a full queue, the newest request of the client
    /// with the most makes room for clients with fewer. As many may wait for their preparation.
    pub queue: usize,
    /// Prompt tokens processed in a step that also decodes: fewer make streams steadier, more bring the first token
    /// sooner under load.
    pub prefill_chunk: usize,
    /// Bytes of all KV caches of a model.
    pub kv_memory: u64,
    /// Bytes of the prefix cache: KV caches of finished sequences, for requests that begin alike. Part of `kv_memory`.
    pub prefix_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { parallel: 16, queue: 64, prefill_chunk: 64, kv_memory: 2 << 30, prefix_memory: 256 << 20 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            context: 4096,
            max_tokens: None,
            limits: Limits::default(),
            max_loaded: usize::MAX,
            request_timeout: Duration::from_secs(600),
            preparation_timeout: Duration::from_secs(10),
            client_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            max_connections: 1024,
            max_body: 4 << 20,
            max_choices: 128,
            rate_limit: None,
            trust_proxy: false,
            allowed_hosts: Vec::new(),
            cors_origins: Vec::new(),
            log_prompts: false,
            parse_special_in_content: false,
        }
    }
}
