//! Renders a conversation with an arbitrary chat template. The first byte selects what the conversation has; its texts
//! are lines of the template.
#![no_main]

use edgellm::chat::{ChatTemplate, DateTime, Json, Message};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

/// As small as the threads of a server, divided by two.
const STACK: usize = 1 << 20;
const MOST_TIME: Duration = Duration::from_secs(2);

const TOOL: &str = r#"{"type": "function", "function": {"name": "f", "description": "d", "parameters":
    {"type": "object", "properties": {"a": {"type": "integer", "enum": [1, 2.50]}, "b": {"type": ["string", "null"]}}}}}"#;
const CALLS: &str =
    r#"[{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": null}}}]"#;

/// What this thread has computed so far; a busy machine may let it wait for minutes. Nothing on systems other than Linux.
fn computed() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(statistics.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0))
}

fn conversation(shape: u8, template: &str) -> Vec<Message> {
    let roles = ["user", "assistant", "system", "tool"];
    let count = usize::from(shape & 7);
    let mut messages: Vec<Message> = template
        .lines()
        .chain(["Hi", "", "<think>a</think>b"])
        .take(count)
        .enumerate()
        .map(|(index, line)| Message::new(roles[(index + usize::from(shape >> 6)) % roles.len()], line))
        .collect();
    if shape & 8 > 0 {
        let calls: Json = CALLS.parse().expect("a constant");
        messages.push(Message::new("assistant", "").with("content", Json::Null).with("tool_calls", calls));
    }
    messages
}

fn render(shape: u8, source: &str) -> Result<String, String> {
    let start = computed();
    let template = ChatTemplate::new(source, "<s>", "</s>").map_err(|error| error.to_string())?;
    let template =
        if shape & 16 > 0 { template.with_date(DateTime::from_unix(1_700_000_000)) } else { template };
    let tools: Vec<Json> = if shape & 32 > 0 { vec![TOOL.parse().expect("a constant")] } else { Vec::new() };
    let prompt = template.render_with_tools(&conversation(shape, source), &tools, true);
    let rendered = prompt.map(|prompt| prompt.text().to_string()).map_err(|error| error.to_string());
    drop(format!("{template:?}"));
    drop(template);
    let time = computed() - start;
    assert!(time < MOST_TIME, "{time:?}");
    rendered
}

fuzz_target!(|data: &[u8]| {
    let Some((&shape, source)) = data.split_first() else { return };
    let source = String::from_utf8_lossy(source);
    std::thread::scope(|scope| {
        let run = || assert_eq!(render(shape, &source), render(shape, &source));
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        thread.expect("a thread").join().expect("no panic");
    });
});
