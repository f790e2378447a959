//! Whoever started a measurement and waits for it.

/// Who looks on.
pub trait Observer {
    /// Something worth a line.
    fn note(&self, line: &str);
    /// So much of the whole is done, both in seconds.
    fn progress(&self, done: f64, total: f64);
    /// Whether to stop and keep what there is.
    fn stop(&self) -> bool;
}
