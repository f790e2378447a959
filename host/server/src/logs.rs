//! Structured logs on standard error.

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

/// Writes the logs of this process to standard error. `level` is `error`, `warn`, `info`, `debug`, `trace` or `off`;
/// anything else counts as `info`. A second call has no effect.
///
/// A thread of its own writes, so a full disk or a slow reader can lose log lines but cannot block requests.
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
    let writer = Lines(sender);
    let layer =
        tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(level);
    let _ = match format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
        }
    };
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
