//! Grammars in llguidance's dialect of Lark.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// The grammar of an answer that is JSON of a schema, or calls `tools`, whose names and schemas of arguments these are, or,
/// without a schema and if `text` is allowed, text. At least one of the first two is given.
pub(super) fn grammar(json: Option<Value>, tools: Vec<(&str, Value)>, text: bool, parallel: bool) -> String {
    let mut lark = match (&json, tools.is_empty()) {
        (_, true) => "start: answer\n".to_string(),
        (Some(_), false) if text => "start: calls | answer\n".to_string(),
        (None, false) if text => {
            // Text until a call begins: llguidance takes the first match of a lazy rule.
            let more = if parallel { "*" } else { "?" };
            format!("start: (begin body){more} TEXT\nbegin[lazy]: /(.|\\n)*<tool_call>/\nTEXT: /(.|\\n)*/\n")
        }
        _ => "start: calls\n".to_string(),
    };
    if let Some(schema) = json {
        let _ = writeln!(lark, "answer: %json {}", compact(schema));
    }
    if tools.is_empty() {
        return lark;
    }
    let more = if parallel { " (\"\\n<tool_call>\" body)*" } else { "" };
    let _ = writeln!(lark, "calls: \"<tool_call>\" body{more}");
    let (mut names, mut rules) = (Vec::new(), String::new());
    for (index, (name, schema)) in tools.into_iter().enumerate() {
        names.push(format!("call_{index}"));
        let head = lark_string(&format!("{{\"name\": {}, \"arguments\": ", json!(name)));
        let _ = writeln!(rules, "call_{index}: {head} args_{index} \"}}\"");
        let _ = writeln!(rules, "args_{index}: %json {}", compact(schema));
    }
    let _ = writeln!(lark, "body: \"\\n\" ({}) \"\\n</tool_call>\"", names.join(" | "));
    lark + &rules
}

/// The schema with one space or none after commas and colons, as the model has learned to write JSON. With any whitespace, small
/// models generate spaces without end.
fn compact(schema: Value) -> Value {
    let mut fields = match schema {
        Value::Object(fields) => fields,
        // `true` or `false`.
        other => [("allOf".to_string(), json!([other]))].into_iter().collect(),
    };
    fields.insert(
        "x-guidance".into(),
        json!({"whitespace_flexible": false, "item_separator": ", ?", "key_separator": ": ?", "lenient": true}),
    );
    Value::Object(fields)
}

/// A string as Lark writes it.
fn lark_string(text: &str) -> String {
    json!(text).to_string()
}
