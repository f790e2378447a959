//! The observer of a measurement: progress, notes, and the wish to stop.

/// Receives progress and notes.
pub trait Observer {
    /// A note worth a line.
    fn note(&self, line: &str);
    /// Progress: seconds done of seconds in all.
    fn progress(&self, done: f64, total: f64);
    /// Whether to stop and keep what there is.
    fn stop(&self) -> bool;
}
