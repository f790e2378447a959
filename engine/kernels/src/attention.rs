//! Attention over cached keys and values, page by page with an online softmax.
//!
//! Pages are walked in segments of [`SEGMENT_PAGES`], whose results are merged in order. Threads may share the segments of a
//! long context, and consecutive tokens of a prompt share the loading of keys and values; prefill, decode and any number of
//! threads perform the same operations in the same order for each query, so they agree bit for bit.
//!
//! Measurements: docs/experiments/attention.md.

mod bytes;
mod halves;
mod jobs;
mod partial;
mod query;
mod walk;

pub(crate) use jobs::{AttendJob, MergeJob, SegmentJob};
pub(crate) use query::Attention;
pub use query::{MAX_HEAD_DIM, Place, Queries, SEGMENT_PAGES};
