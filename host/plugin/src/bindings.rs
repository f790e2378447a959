//! Bindings that wasmtime generates from the WIT, and defaults for its records.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::undocumented_unsafe_blocks)]

wasmtime::component::bindgen!({
    path: "../../wasm/component/wit",
    world: "engine",
    require_store_data_send: true,
    additional_derives: [PartialEq],
});

use exports::edgellm::inference::inference::{GenerateOptions, SamplerOptions, SessionOptions};

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { context_length: None, precision: None, kv_cache: None }
    }
}

impl Default for SamplerOptions {
    fn default() -> Self {
        SamplerOptions {
            temperature: None,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: None,
            presence_penalty: None,
            frequency_penalty: None,
            seed: None,
        }
    }
}

impl SamplerOptions {
    /// Always the most likely token: temperature 0.
    pub fn greedy() -> Self {
        SamplerOptions { temperature: Some(0.0), ..SamplerOptions::default() }
    }
}

impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            sampler: SamplerOptions::default(),
            max_tokens: None,
            stop: Vec::new(),
            ignore_eos: false,
            logprobs: false,
        }
    }
}
