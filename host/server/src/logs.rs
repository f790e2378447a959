//! Structured logs on standard error.

mod line;

use line::Line;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// Lines that can wait to be written; when all are in use, further lines are lost.
const LINES: usize = 4096;
/// How long the end of the process waits for lines to be written.
const END: Duration = Duration::from_millis(500);

/// The log of this process. When it is dropped, it waits until all lines are written, for half a second at most.
#[derive(Debug)]
#[must_use = "the last lines are lost if nothing waits for them"]
pub struct Logs {
    /// Lines that wait to be written.
    waiting: Arc<AtomicUsize>,
}

/// Writes the logs of this process to standard error, and panics with them. `level` is `error`, `warn`, `info`, `debug`,
/// `trace` or `off`; anything else counts as `info`. A second call has no effect.
///
/// An event is one line, whatever its fields hold. A thread of its own writes, so a full disk or a slow reader can lose log
/// lines but cannot block requests.
pub fn init_logs(format: LogFormat, level: &str) -> Logs {
    let (sender, lines) = sync_channel::<Vec<u8>>(LINES);
    let waiting = Arc::new(AtomicUsize::new(0));
    let logs = Logs { waiting: Arc::clone(&waiting) };
    let written = Arc::clone(&waiting);
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
        let mut out = io::stderr();
        while let Ok(line) = lines.recv() {
            // There is nowhere to report this.
            let _ = out.write_all(&line);
            written.fetch_sub(1, Ordering::AcqRel);
        }
    });
    if thread.is_err() {
        return logs;
    }
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    if subscriber(format, Lines { sender, waiting }).with(level).try_init().is_ok() {
        // The standard library would write the message of a panic as it is, and it can quote a request.
        std::panic::set_hook(Box::new(log_panic));
    }
    logs
}

impl Drop for Logs {
    fn drop(&mut self) {
        let end = Instant::now() + END;
        while self.waiting.load(Ordering::Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
    tracing::error!(
        thread = thread.name(),
        place = panic.location().map(ToString::to_string),
        text = panic.payload_as_str(),
        backtrace = captured.then(|| backtrace.to_string()),
        "panic"
    );
}

/// What writes events to `writer`.
fn subscriber<W: for<'a> MakeWriter<'a> + Send + Sync + 'static>(
    format: LogFormat,
    writer: W,
) -> impl tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    tracing_subscriber::registry().with(layer.log_internal_errors(false).event_format(Line(format)))
}

/// Sends lines to the writing thread.
#[derive(Clone, Debug)]
struct Lines {
    sender: SyncSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.sender.try_send(line.to_vec()).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}
