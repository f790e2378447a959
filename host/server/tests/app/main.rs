//! The app without a socket, over small seeded models: what clients see.

mod access;
mod bodies;
mod chat;
mod completions;
mod embeddings;
mod http;
mod load;
mod messages;
mod models;
mod page;
mod preparation;
mod refusals;
mod schemas;
mod scoring;
mod sentencepiece;
mod sockets;
mod support;
mod tokens;
