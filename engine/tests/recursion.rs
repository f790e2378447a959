//! Every reader of nested input ends on a small stack, however deep its input is.

use edgellm::chat::{ChatTemplate, Json, Message, tool_from_openai};
use edgellm::tokenizer::Tokenizer;

/// Half of what a component has, the smallest stack.
const STACK: usize = 256 << 10;
/// From few to more than there may be; JSON is read to 128.
const DEPTHS: [usize; 6] = [10, 60, 120, 128, 129, 200_000];

/// Runs on a small stack; an overflow would end the process.
fn on_a_small_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap()
    })
}

fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + inner + &close.repeat(depth)
}

#[test]
fn json() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let read = DEPTHS.map(|depth| {
            on_a_small_stack(|| {
                let text = nested(open, "1", close, depth);
                let read = edgellm::json::read::<serde_json::Value>(text.as_bytes()).ok();
                if let Some(read) = read {
                    let written = read.to_string();
                    assert_eq!(Json::from(read).to_string(), written);
                }
                let json: Option<Json> = text.parse().ok();
                json.is_some_and(|json| {
                    json.clone() == json && json.to_string() == text && !format!("{json:?}").is_empty()
                })
            })
        });
        assert!(read[1] && !read[5], "{open} {read:?}");
    }
}

#[test]
fn messages_and_tools() {
    let template = ChatTemplate::new("{{ messages }}{{ tools }}", "", "").unwrap();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let rendered = DEPTHS.map(|depth| {
            on_a_small_stack(|| {
                let value: Json = nested(open, "1", close, depth).parse().ok()?;
                let arguments = nested("[", "1", "]", depth);
                let call = Json::object([(
                    "function",
                    Json::object([("name", "f".into()), ("arguments", arguments.as_str().into())]),
                )]);
                let parameters = Json::object([("name", "f".into()), ("parameters", value.clone())]);
                let tool = Json::object([("type", "function".into()), ("function", parameters)]);
                let message = Json::object([
                    ("role", "assistant".into()),
                    ("content", Json::Array(vec![Json::object([("type", "text".into()), ("text", value)])])),
                    ("tool_calls", Json::Array(vec![call])),
                ]);
                let message = Message::from_openai(message).ok()?;
                let tool = tool_from_openai(tool);
                template.render_with_tools(&[message], &[tool], true).ok().map(|prompt| prompt.text().len())
            })
        });
        assert!(rendered[1].is_some() && rendered[5].is_none(), "{open} {rendered:?}");
    }
}

#[test]
fn components_of_a_tokenizer() {
    let file: serde_json::Value = serde_json::from_slice(&edgellm::testing::byte_tokenizer()).unwrap();
    for (part, list, leaf) in [
        ("normalizer", "normalizers", r#"{"type":"NFC"}"#),
        ("pre_tokenizer", "pretokenizers", r#"{"type":"Digits","individual_digits":true}"#),
        (
            "post_processor",
            "processors",
            r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#,
        ),
        ("decoder", "decoders", r#"{"type":"Fuse"}"#),
    ] {
        for depth in [1, 10, 60, 100_000] {
            let open = format!("{{\"type\":\"Sequence\",\"{list}\":[");
            let mut fields: Vec<String> = Vec::new();
            for (name, value) in file.as_object().unwrap() {
                let text = if name == part { nested(&open, leaf, "]}", depth) } else { value.to_string() };
                fields.push(format!("{name:?}:{text}"));
            }
            let json = format!("{{{}}}", fields.join(","));
            let opened = on_a_small_stack(|| Tokenizer::from_json(json.as_bytes()).is_ok());
            assert!(depth > 1 || opened || part == "decoder", "{part}");
            assert!(depth < 1000 || !opened, "{part}");
        }
    }
}
