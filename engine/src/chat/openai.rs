//! Parts of messages and tools as clients of OpenAI's API send them, in the form that chat templates expect.

use super::json::Json;

/// A tool as it was sent, with the parts that templates need. All other fields stay as they are.
pub fn tool_from_openai(sent: Json) -> Json {
    let Json::Object(mut tool) = sent else { return sent };
    if !tool.contains_key("type") {
        tool.shift_insert(0, "type".into(), "function".into());
    }
    if let Some(Json::Object(function)) = tool.get_mut("function") {
        function.retain(|_, value| *value != Json::Null);
        // A function without parameters takes none.
        let none = || Json::object([("type", "object".into()), ("properties", Json::object([]))]);
        function.entry("parameters".into()).or_insert_with(none);
    }
    Json::Object(tool)
}

/// Replaces the text of a call's arguments by the object, which templates serialize themselves.
pub(super) fn call(sent: &mut Json) {
    let Json::Object(call) = sent else { return };
    let Some(Json::Object(function)) = call.get_mut("function") else { return };
    let arguments = match function.get("arguments") {
        None | Some(Json::Null) => Json::object([]),
        Some(Json::String(text)) if text.trim().is_empty() => Json::object([]),
        Some(Json::String(text)) => match text.parse() {
            Ok(object @ Json::Object(_)) => object,
            // Not what the API says, but what a model wrote.
            _ => return,
        },
        Some(_) => return,
    };
    function.insert("arguments".into(), arguments);
}

/// The text of parts that are all text.
pub(super) fn joined(parts: &[Json]) -> Option<Json> {
    let text = |part: &Json| part.get("text").and_then(Json::as_str).map(String::from);
    parts.iter().map(text).collect::<Option<String>>().map(Json::String)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Message, MessageError};

    #[test]
    fn what_clients_leave_out_of_tools_is_added_and_nothing_is_lost() {
        let tool = |text: &str| tool_from_openai(text.parse().unwrap()).to_string();
        assert_eq!(
            tool(r#"{"function":{"strict":true,"name":"f","parameters":null,"x":[1e3]}}"#),
            r#"{"type":"function","function":{"strict":true,"name":"f","x":[1e3],"parameters":{"type":"object","properties":{}}}}"#
        );
        let sent = r#"{"x":1,"function":{"parameters":{"required":[],"$id":"q"},"description":"d","name":"f"},"type":"function"}"#;
        assert_eq!(tool(sent), sent);
    }

    fn message(sent: &str) -> Result<String, MessageError> {
        let message = Message::from_openai(sent.parse().unwrap())?;
        Ok(Json::Object(message.fields().clone()).to_string())
    }

    #[test]
    fn arguments_are_objects_with_their_digits() {
        let arguments = |arguments: &str| {
            let (head, tail) = (
                r#"{"role":"assistant","tool_calls":[{"id":"1","function":{"arguments":"#,
                r#","name":"f"},"index":0}]"#,
            );
            let message = message(&format!("{head}{arguments}{tail}}}")).unwrap();
            let tail = format!(r#"{tail},"content":null}}"#);
            message.strip_prefix(head).and_then(|message| message.strip_suffix(&tail)).unwrap().to_string()
        };
        for (sent, wanted) in [
            (r#""""#, "{}"),
            (r#"" ""#, "{}"),
            ("null", "{}"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (
                r#""{\"b\": 1e5, \"a\": 0.10, \"c\": 12345678901234567890123}""#,
                r#"{"b":1e5,"a":0.10,"c":12345678901234567890123}"#,
            ),
            (r#""{\"a\":""#, r#""{\"a\":""#),
            (r#""5""#, r#""5""#),
        ] {
            assert_eq!(arguments(sent), wanted);
        }
    }

    #[test]
    fn messages_are_as_templates_expect_them() {
        for (sent, wanted) in [
            (
                r#"{"role":"developer","content":"a","x":{"z":1,"a":null}}"#,
                r#"{"role":"system","content":"a","x":{"z":1,"a":null}}"#,
            ),
            (
                r#"{"name":null,"role":"user","content":[{"type":"text","text":"a"},{"text":"b"}]}"#,
                r#"{"role":"user","content":"ab"}"#,
            ),
            (
                r#"{"role":"user","content":[{"type":"image"}]}"#,
                r#"{"role":"user","content":[{"type":"image"}]}"#,
            ),
            (r#"{"role":"assistant","refusal":null}"#, r#"{"role":"assistant","content":""}"#),
            (
                r#"{"role":"assistant","content":null,"tool_calls":[]}"#,
                r#"{"role":"assistant","content":""}"#,
            ),
            (
                r#"{"content":null,"role":"assistant","tool_calls":[1]}"#,
                r#"{"content":null,"role":"assistant","tool_calls":[1]}"#,
            ),
            (r#"{"role":"x","content":"","tool_calls":null}"#, r#"{"role":"x","content":""}"#),
        ] {
            assert_eq!(message(sent).as_deref(), Ok(wanted));
        }
        assert_eq!(message(r#"{"content":"a"}"#), Err(MessageError::Role));
        assert_eq!(message(r#"{"role":"user","content":null}"#), Err(MessageError::Content));
        assert_eq!(message(r#"{"role":"tool"}"#), Err(MessageError::Content));
    }
}
