//! Tests of the built program: what a user types, what comes out, and what is left on the disk.

mod bad_input;
mod benchmark;
mod hub;
mod pip;
mod program;
mod real_model;
mod server;
mod sources;
mod stale;
