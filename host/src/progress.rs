//! Progress bars on standard error, if it is a terminal.

use crate::error::without_middle;
use crate::terminal::shown;
use edgellm::text::printable;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes.
pub(crate) fn bytes(total: u64, what: &str) -> Bar {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    Bar::new(total, what, template)
}

/// A bar that shows a percentage of `total`.
pub(crate) fn share(total: u64, what: &str) -> Bar {
    Bar::new(total, what, "{msg} [{bar:30}] {percent}% {eta}")
}

/// A progress bar that disappears when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    fn new(total: u64, what: &str, template: &str) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style.progress_chars("=> "));
        bar.set_message(printable(what, 100).into_owned());
        Bar(bar)
    }

    /// Sets how much is done.
    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Prints a line above the bar.
    pub(crate) fn note(&self, line: &str) {
        self.0.suspend(|| note(line));
    }

    /// Sets how much there is to do.
    pub(crate) fn set_total(&self, total: u64) {
        self.0.set_length(total);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Prints a line on standard error. It may hold texts from outside.
pub(crate) fn note(line: &str) {
    eprintln!("{}", shown(&without_middle(line)));
}
