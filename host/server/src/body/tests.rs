//! Reading request bodies.

use super::*;
use crate::api::chat::{ChatBody, ChatRequest};
use crate::api::completions::CompletionBody;
use crate::api::sampling::Sampling;

fn wrong<T: DeserializeOwned>(json: &str) -> String {
    let error = Text::from(json.to_string()).parse::<T>().map(|_| ()).unwrap_err();
    serde_json::to_value(error.body()).unwrap()["error"]["param"].as_str().unwrap_or("none").to_string()
}

#[test]
fn errors_name_the_field() {
    assert_eq!(wrong::<ChatRequest>("{}"), "messages");
    assert_eq!(wrong::<ChatRequest>(r#"{"messages": [{"role": "user"}, {}]}"#), "messages[1].role");
    assert_eq!(
        wrong::<ChatRequest>(r#"{"messages": [{"role": "user", "content": 3}]}"#),
        "messages[0].content"
    );
    assert_eq!(wrong::<ChatRequest>(r#"{"messages": "hi"}"#), "messages");
    assert_eq!(wrong::<Sampling>(r#"{"temperature": "hot"}"#), "temperature");
    assert_eq!(wrong::<Sampling>(r#"{"n": -1}"#), "n");
    assert_eq!(wrong::<Sampling>(r#"{"stop": [1]}"#), "stop");
    assert_eq!(wrong::<ChatBody>("{}"), "messages");
    assert_eq!(wrong::<ChatBody>(r#"{"messages": [{"role": "user"}, {}], "n": 1}"#), "messages[1].role");
    assert_eq!(wrong::<ChatBody>(r#"{"n": -1, "messages": []}"#), "n");
    assert_eq!(wrong::<ChatBody>(r#"{"messages": [], "stream_options": [true]}"#), "stream_options");
    assert_eq!(wrong::<ChatBody>("[]"), "none");
    assert_eq!(wrong::<CompletionBody>(r#"{"prompt": "", "logprobs": -1}"#), "logprobs");
    assert_eq!(wrong::<CompletionBody>(r#"{"prompt": "", "logit_bias": {"1": "x"}}"#), "logit_bias.1");
    // Lists are no objects, though serde would take them.
    assert_eq!(wrong::<Sampling>("[0.5]"), "none");
    assert_eq!(wrong::<Sampling>(r#"{"stream_options": [true]}"#), "stream_options");
    assert_eq!(wrong::<ChatRequest>(r#"{"messages": [["user", "x"]]}"#), "messages[0]");
    assert_eq!(
        wrong::<ChatRequest>(
            r#"{"messages": [], "response_format": {"type": "json_schema", "json_schema": [null, null]}}"#
        ),
        "response_format"
    );
    for format in [r#"{"type": 0}"#, r#"{"type": "yaml"}"#, r#"["text"]"#, r#"{"type": "json_schema"}"#] {
        let chat = wrong::<ChatBody>(&format!(r#"{{"messages": [], "response_format": {format}}}"#));
        let plain = wrong::<CompletionBody>(&format!(r#"{{"prompt": "a", "response_format": {format}}}"#));
        assert!(chat.starts_with("response_format") && plain == chat, "{format}: {chat} {plain}");
    }
    assert_eq!(wrong::<Sampling>("{} {}"), "none");
    assert_eq!(wrong::<ChatBody>("{"), "none");
    assert_eq!(wrong::<ChatBody>(r#"{"messages": [{"role": "us"#), "none");
    assert_eq!(wrong::<CompletionBody>(r#"{"prompt": "a", }"#), "none");
    assert_eq!(wrong::<Sampling>("\u{1}"), "none");
    assert!(Text(br#"{"temperature": null, "unknown": [{}], "n": 2}"#.into()).parse::<Sampling>().is_ok());
}

#[test]
fn bodies_are_read_as_clients_write_them() {
    let body = Text(br#"{"messages": [{"role": "assistant", "content": null, "name": null, "tool_calls": null}], "n": 1, "n": 2.0,
            "max_tokens": -1, "top_k": -1, "seed": -1, "stop": null, "stream_options": {"include_usage": null},
            "repetition_penalty": 1.1, "repeat_penalty": 1.2, "tools": null, "unknown": {"a": null}}"#.into());
    let ChatBody { chat, sampling } = body.read().unwrap();
    assert!(chat.tools.is_none() && chat.messages[0].0.content.is_none());
    assert_eq!(
        (sampling.n, sampling.limit().0, sampling.top_k, sampling.seed),
        (Some(2), None, Some(0), None)
    );
    assert_eq!(sampling.options(0).repetition_penalty, 1.1);
    let other = Text(br#"{"prompt": "a", "repeat_penalty": 1.2, "repetition_penalty": null}"#.into());
    let CompletionBody { sampling, .. } = other.read().unwrap();
    assert_eq!(sampling.options(0).repetition_penalty, 1.2);
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = format!("{{\"messages\": {}", "[".repeat(1 << 20));
    assert!(Text::from(deep).parse::<ChatRequest>().is_err());
    let unknown = format!("{{\"x\": {}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let _ = Text::from(unknown).parse::<Sampling>();
}
