//! Tests of the built program: what a user types, what comes out, and what is left on the disk.

mod bad_input;
mod benchmark;
mod budget;
mod calibration;
mod export;
mod first_minute;
mod foreign_folder;
mod hostile_tokenizer;
mod hub;
mod hub_hostile;
mod hub_reference;
mod imatrix;
mod index;
mod kept;
mod links;
mod owners;
mod pip;
mod pipes;
mod program;
mod quality;
mod real_model;
mod server;
mod sources;
mod stale;
mod terminal;
