//! Tests with a small seeded model. The scheduler runs step by step here, so that they count steps in place of time.

mod fairness;
mod prefix;
mod queue;
mod support;
