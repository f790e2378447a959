//! One event as one line.
//!
//! Fields can hold what clients send. Whatever that is, it stays within its field: nothing ends the line, nothing reaches
//! the terminal as a control sequence, and values are cut at a length.

use super::LogFormat;
use edgellm::text::{is_printable, printable};
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Characters of a field's value, at most.
const MOST: usize = 1000;
/// Fields that are in the log only because somebody wants them whole.
const WHOLE: [&str; 3] = ["prompt", "answer", "backtrace"];

/// Formats an event.
pub(super) struct Line(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        match self.0 {
            LogFormat::Text => writeln!(writer, "{time} {level:>5}{}", text(&fields.0)),
            LogFormat::Json => {
                let mut all = Map::new();
                all.insert("timestamp".into(), time.into());
                all.insert("level".into(), level.as_str().into());
                all.extend(fields.0);
                all.insert("target".into(), target.into());
                writeln!(writer, "{}", json(&Value::Object(all)))
            }
        }
    }
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_string(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let most = if WHOLE.contains(&field.name()) { usize::MAX } else { MOST };
        let end = value.char_indices().nth(most).map(|(end, _)| end);
        let value = match end {
            // The same words as in `printable`, which has nothing left to cut then.
            Some(end) => format!("{}… ({} more)", &value[..end], value[end..].chars().count()),
            None => value.to_string(),
        };
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }
}

/// The message, then `name="value"` for each field.
fn text(fields: &Map<String, Value>) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        // Writing to a string cannot fail.
        let _ = match value {
            // A message that looks like fields is quoted, too.
            Value::String(message) if name == "message" && !message.contains(['=', '"']) => {
                write!(line, " {}", printable(message, usize::MAX))
            }
            Value::String(value) => {
                let value = value.replace('\\', r"\\").replace('"', "\\\"");
                write!(line, " {name}=\"{}\"", printable(&value, usize::MAX))
            }
            other => write!(line, " {name}={other}"),
        };
    }
    line
}

/// JSON of printable characters only: others, which only strings have, are escaped.
fn json(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().all(is_printable) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::{LogFormat, log_panic, subscriber};
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// What attackers write into names, roles and schemas.
    const ATTACKS: [&str; 6] = [
        "a\n2026-01-01T00:00:00Z  INFO request status=200",
        "\r\n{\"level\":\"INFO\",\"message\":\"request\"}",
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m",
        "\" status=200 outcome=\"stop",
        "\u{202e}gnp.exe\u{2066}\u{2028}\u{85}",
        "\\\" \\u001b \0",
    ];

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `events` write to the log.
    fn logged(format: LogFormat, events: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        tracing::subscriber::with_default(subscriber(format, move || writer.clone()), events);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    fn in_every_way(attack: &str) {
        let owned = attack.to_string();
        let error = io::Error::other(owned.clone());
        tracing::info!(user = owned, "text");
        tracing::info!(%error, "display");
        tracing::info!(error = ?error, "debug");
        tracing::info!(prompt = attack, "prompt");
        tracing::info!("message {attack}");
    }

    #[test]
    fn no_text_leaves_its_line_or_field() {
        for format in [LogFormat::Text, LogFormat::Json] {
            for attack in ATTACKS {
                let log = logged(format, || in_every_way(attack));
                let lines: Vec<_> = log.split_terminator('\n').collect();
                assert_eq!(lines.len(), 5, "{log}");
                assert!(lines.iter().all(|line| line.chars().all(is_printable)), "{log:?}");
                if format == LogFormat::Text {
                    assert!(!lines.iter().any(|line| line.contains(" status=200 outcome=\"")), "{log}");
                    assert!(lines[0].contains("INFO text user=\""), "{log}");
                    continue;
                }
                // Programs read what the client sent.
                for (line, field) in lines.iter().zip(["user", "error", "", "prompt", ""]) {
                    let object: Value = serde_json::from_str(line).unwrap();
                    assert_eq!((&object["level"], object["timestamp"].is_string()), (&"INFO".into(), true));
                    assert!(field.is_empty() || object[field] == attack, "{line}");
                }
            }
        }
    }

    #[test]
    fn long_values_are_cut_unless_somebody_wants_them_whole() {
        let long = "x".repeat(4 << 20);
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged(format, || tracing::info!(user = long.as_str(), "m"));
            assert!(log.len() < 2000 && log.contains("… (4193304 more)"), "{}", log.len());
            assert!(logged(format, || tracing::info!(prompt = long.as_str(), "m")).len() > long.len());
            assert!(logged(format, || tracing::info!("{long}")).len() < 2000);
        }
    }

    #[test]
    fn numbers_and_absent_fields() {
        let log = logged(LogFormat::Text, || tracing::info!(ms = 5_u64, none = None::<&str>, "request"));
        assert!(log.ends_with(" INFO request ms=5\n"), "{log}");
        let log = logged(LogFormat::Json, || tracing::warn!(ms = 5_u64, ok = true, "request"));
        let object: Value = serde_json::from_str(&log).unwrap();
        assert_eq!(object["ms"], 5);
        assert_eq!((&object["ok"], &object["message"]), (&true.into(), &"request".into()));
    }

    #[test]
    fn panics_are_lines_of_the_log() {
        let old = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let log = logged(LogFormat::Text, || {
            let panic = std::panic::catch_unwind(|| panic!("cannot slice {}", ATTACKS[0]));
            assert!(panic.is_err());
        });
        std::panic::set_hook(old);
        assert!(log.contains("ERROR panic") && log.contains(r"cannot slice a\n2026"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}
