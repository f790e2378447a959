//! Progress, told to the page.

use crate::source::worker;
use js_sys::Function;
use wasm_bindgen::JsValue;
use web_sys::Performance;

/// Milliseconds between two reports.
const PACE: f64 = 50.0;

/// Calls a function of the page with what is done and what is to be done: no more often than people can see, and always
/// at the end.
pub(crate) struct Progress {
    report: Function,
    clock: Option<Performance>,
    next: f64,
}

impl Progress {
    pub(crate) fn new(report: Function) -> Self {
        Progress { report, clock: worker().performance(), next: f64::NEG_INFINITY }
    }

    pub(crate) fn report(&mut self, done: u64, total: u64) {
        let now = self.clock.as_ref().map_or(0.0, Performance::now);
        if now < self.next && done != total {
            return;
        }
        self.next = now + PACE;
        // A page that fails to show progress is no reason to stop.
        let _ = self.report.call2(&JsValue::NULL, &(done as f64).into(), &(total as f64).into());
    }
}
