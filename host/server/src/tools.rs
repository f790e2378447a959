//! Tool calls: how a model is told of its tools, and how its calls are found in the text it generates.
//!
//! A call has the form `<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>`, in which Qwen2.5 and the Hermes
//! models were trained. If the chat template does not support tools, a system message describes them.

use edgellm::chat::{Json, Message};
use serde_json::Value;

/// A function that the client offers.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// The JSON schema of its arguments.
    pub(crate) parameters: Value,
    /// All that the client said of it, for chat templates.
    pub(crate) sent: Json,
}

/// Whether tools are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// Never.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// A call in generated text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) arguments: String,
}

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

impl ToolChoice {
    /// Whether this tool may be called.
    pub(crate) fn allows(&self, name: &str) -> bool {
        match self {
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::None => false,
            ToolChoice::Named(named) => named == name,
        }
    }
}

/// Messages for a chat template that does not support tools: the system message describes the tools, and texts contain
/// calls and results.
pub(crate) fn spelled_out(messages: &[Message], tools: &[Tool]) -> Vec<Message> {
    let mut plain: Vec<Message> = Vec::new();
    for message in messages {
        let mut content = message.content().to_string();
        for call in message.get("tool_calls").and_then(Json::as_array).unwrap_or_default() {
            if !content.is_empty() {
                content.push('\n');
            }
            let part = |name: &str| call.get("function").and_then(|function| function.get(name)).cloned();
            let (name, arguments) = (part("name").unwrap_or_default(), part("arguments").unwrap_or_default());
            content.push_str(&format!("{OPEN}\n{{\"name\": {name}, \"arguments\": {arguments}}}\n{CLOSE}"));
        }
        if message.role() != "tool" {
            plain.push(message.clone().with("content", Json::String(content)).without("tool_calls"));
            continue;
        }
        let content = format!("<tool_response>\n{content}\n</tool_response>");
        match plain.last_mut().filter(|last| last.content().ends_with("</tool_response>")) {
            // Results of parallel calls share a message, as templates expect alternating roles.
            Some(last) => *last = Message::new("user", format!("{}\n{content}", last.content())),
            None => plain.push(Message::new("user", content)),
        }
    }
    if !tools.is_empty() {
        let list: String = tools.iter().map(|tool| format!("{}\n", tool.sent)).collect();
        let text = format!(
            "You can call these functions:\n<tools>\n{list}</tools>\n\
             To call one, answer with its name and arguments as JSON:\n\
             {OPEN}\n{{\"name\": <function-name>, \"arguments\": <args-json-object>}}\n{CLOSE}"
        );
        match plain.first_mut().filter(|first| first.role() == "system") {
            Some(first) => {
                let text = format!("{}\n\n{text}", first.content());
                *first = first.clone().with("content", Json::String(text));
            }
            None => plain.insert(0, Message::new("system", text)),
        }
    }
    plain
}

/// What was held back at the end of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Text(String),
    Call(ToolCall),
    /// The beginning of a call.
    Cut,
}

/// Finds tool calls in streamed text.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFinder {
    /// Text that is held back: a possible beginning of a call, or an incomplete call.
    held: String,
    open: bool,
    /// Whether the text can be nothing but calls.
    calls_only: bool,
}

impl CallFinder {
    /// With `calls_only`, the text is nothing but calls.
    pub(crate) fn new(calls_only: bool) -> Self {
        CallFinder { calls_only, ..CallFinder::default() }
    }

    /// Takes more text. Returns the text outside of calls, and the calls that are complete.
    pub(crate) fn push(&mut self, text: &str) -> (String, Vec<ToolCall>) {
        self.held.push_str(text);
        let (mut out, mut calls) = (String::new(), Vec::new());
        loop {
            if self.open {
                let Some(end) = self.held.find(CLOSE) else { break };
                let rest = self.held.split_off(end + CLOSE.len());
                let body = std::mem::replace(&mut self.held, rest);
                self.open = false;
                match parse(&body[OPEN.len()..end]) {
                    Some(call) => calls.push(call),
                    None => out.push_str(&body),
                }
            } else if let Some(start) = self.held.find(OPEN) {
                out.push_str(&self.held[..start]);
                self.held.drain(..start);
                self.open = true;
            } else {
                let certain = certain(&self.held);
                out.push_str(&self.held[..certain]);
                self.held.drain(..certain);
                break;
            }
        }
        (out, calls)
    }

    /// Ends the text and returns what was held back. A call that lacks only its closing tag counts; of one that was
    /// `cut` nothing is left.
    pub(crate) fn finish(&mut self, cut: bool) -> Rest {
        let held = std::mem::take(&mut self.held);
        match held.strip_prefix(OPEN).and_then(parse) {
            Some(call) if self.open => Rest::Call(call),
            _ if cut && (self.open || self.calls_only) => Rest::Cut,
            _ => Rest::Text(held),
        }
    }
}

/// Length of the text before a possible beginning of [`OPEN`].
fn certain(text: &str) -> usize {
    let from = text.len().saturating_sub(OPEN.len() - 1);
    (from..text.len())
        .filter(|&at| text.is_char_boundary(at))
        .find(|&at| OPEN.starts_with(&text[at..]))
        .unwrap_or(text.len())
}

fn parse(body: &str) -> Option<ToolCall> {
    let call: Json = body.trim().parse().ok()?;
    let name = call.get("name")?.as_str()?.to_string();
    let arguments = call.get("arguments").or_else(|| call.get("parameters"))?.to_string();
    Some(ToolCall { name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Let me <see>.<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
                        <tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call> é <tool_call>no</tool_call><tool";

    #[test]
    fn calls_are_found_however_the_text_is_cut() {
        for size in 1..40 {
            let mut finder = CallFinder::default();
            let (mut text, mut calls) = (String::new(), Vec::new());
            let chars: Vec<char> = TEXT.chars().collect();
            for piece in chars.chunks(size) {
                let (more, found) = finder.push(&piece.iter().collect::<String>());
                text.push_str(&more);
                calls.extend(found);
            }
            match finder.finish(false) {
                Rest::Text(more) => text.push_str(&more),
                other => panic!("{other:?}"),
            }
            assert_eq!(text, "Let me <see>.\n é <tool_call>no</tool_call><tool", "{size}");
            let names: Vec<_> =
                calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
            assert_eq!(names, [("f", "{\"a\":1}"), ("g", "{}")]);
        }
    }

    #[test]
    fn a_call_cut_short_at_its_end_is_one() {
        let mut finder = CallFinder::default();
        assert_eq!(
            finder.push("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</too"),
            (String::new(), vec![])
        );
        let held = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</too".to_string();
        assert_eq!(finder.clone().finish(false), Rest::Text(held));
        assert_eq!(finder.finish(true), Rest::Cut);
        finder = CallFinder::default();
        finder.push("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n");
        assert!(matches!(finder.finish(true), Rest::Call(call) if call.name == "f"));
        // The beginning of a tag is text, unless there can be none.
        for (calls_only, rest) in [(false, Rest::Text("<tool".into())), (true, Rest::Cut)] {
            let mut finder = CallFinder::new(calls_only);
            assert_eq!(finder.push("<tool"), (String::new(), vec![]));
            assert_eq!(finder.finish(true), rest);
        }
    }

    #[test]
    fn digits_of_arguments_are_kept() {
        let mut finder = CallFinder::default();
        let call =
            r#"<tool_call>{"name": "f", "arguments": {"b": 12345678901234567890123, "a": 1.10}}</tool_call>"#;
        let (_, calls) = finder.push(call);
        assert_eq!(calls[0].arguments, r#"{"b":12345678901234567890123,"a":1.10}"#);
    }

    #[test]
    fn templates_without_tools_get_text() {
        let sent: Json = r#"{"type":"function","function":{"name":"f","strict":true}}"#.parse().unwrap();
        let tool = Tool { name: "f".into(), parameters: Value::Null, sent };
        let calls =
            r#"[{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]"#.parse().unwrap();
        let messages = [
            Message::new("user", "go").with("name", "Eve".into()),
            Message::new("assistant", "").with("tool_calls", calls),
            Message::new("tool", "1"),
            Message::new("tool", "2"),
        ];
        let plain = spelled_out(&messages, &[tool]);
        let roles: Vec<_> = plain.iter().map(|message| message.role()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert!(plain[0].content().contains(r#"{"name":"f","strict":true}"#));
        assert_eq!(plain[1].get("name"), Some(&"Eve".into()));
        assert_eq!(
            plain[2].content(),
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1}}\n</tool_call>"
        );
        assert!(plain[3].content().contains("1\n</tool_response>\n<tool_response>\n2"));
    }
}
