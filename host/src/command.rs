//! The commands, one module each: its options, and what it does.

pub(crate) mod benchmark;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod finetune;
pub(crate) mod generate;
pub(crate) mod info;
pub(crate) mod models;
pub(crate) mod perplexity;
pub(crate) mod quality;
pub(crate) mod quantize;
pub(crate) mod serve;
pub(crate) mod tokenize;
