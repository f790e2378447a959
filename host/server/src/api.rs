//! Requests and responses as JSON, in OpenAI's shapes.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod fields;
pub(crate) mod models;
pub(crate) mod number;
pub(crate) mod object;
pub(crate) mod prompts;
pub(crate) mod refusals;
pub(crate) mod sampling;
pub(crate) mod usage;
