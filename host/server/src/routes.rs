//! The endpoints.

pub(crate) mod chat;
pub(crate) mod completions;
mod context;
pub(crate) mod embeddings;
mod generation;
pub(crate) mod models;
pub(crate) mod tokens;
