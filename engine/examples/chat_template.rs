//! Renders chat templates, for scripts/reference/real_chat_templates.py: a line of JSON on the standard input has
//! `template`, `messages`, `tools`, `add_generation_prompt`, `bos`, `eos` and `now`; one on the standard output has `text`,
//! `refused` or `error`.

use edgellm::chat::{ChatError, ChatTemplate, DateTime, Json, Message};
use std::io::{BufRead as _, Write as _};

fn render(case: &Json) -> Result<String, ChatError> {
    let text = |name: &str| case.get(name).and_then(Json::as_str).unwrap_or_default();
    let list = |name: &str| case.get(name).and_then(Json::as_array).unwrap_or_default();
    let mut template = ChatTemplate::new(text("template"), text("bos"), text("eos"))?;
    if let Some(Json::Number(now)) = case.get("now") {
        template = template.with_date(DateTime::from_unix(now.as_str().parse().unwrap_or_default()));
    }
    let messages: Vec<Message> = list("messages").iter().cloned().flat_map(Message::try_from).collect();
    let add_generation_prompt = case.get("add_generation_prompt") == Some(&Json::Bool(true));
    let prompt = template.render_with_tools(&messages, list("tools"), add_generation_prompt)?;
    Ok(prompt.text().to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let (outcome, text) = match render(&line?.parse()?) {
            Ok(text) => ("text", text),
            Err(ChatError::Refused(message)) => ("refused", message),
            Err(error) => ("error", error.to_string()),
        };
        writeln!(out, "{}", Json::object([(outcome, text.as_str().into())]))?;
    }
    Ok(())
}
