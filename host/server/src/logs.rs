//! Structured logs on standard error.

mod line;

use line::Line;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
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

/// Writes the logs of this process to standard error, and panics with them. `level` is `error`, `warn`, `info`, `debug`,
/// `trace` or `off`; anything else counts as `info`. A second call has no effect.
///
/// An event is one line, whatever its fields hold. A thread of its own writes, so a full disk or a slow reader can lose log
/// lines but cannot block requests.
pub fn init_logs(format: LogFormat, level: &str) {
    let (sender, lines) = sync_channel::<Vec<u8>>(LINES);
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
        let mut out = io::stderr();
        while let Ok(line) = lines.recv() {
            // There is nowhere to report this.
            let _ = out.write_all(&line);
        }
    });
    if thread.is_err() {
        return;
    }
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    if subscriber(format, Lines(sender)).with(level).try_init().is_ok() {
        // The standard library would write the message of a panic as it is, and it can quote a request.
        std::panic::set_hook(Box::new(log_panic));
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
struct Lines(SyncSender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(line.to_vec());
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
