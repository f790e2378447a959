//! Questions with their right answers: read from a file, put to a model, and scored.

use crate::error::{Error, Result};
use crate::{interrupt, progress, prompt};
use edgellm::chat::{ChatTemplate, Json, Message, tool_from_openai};
use edgellm::sampler::{Sampler, SamplerOptions};
use edgellm::{Model, Session, SessionOptions, TokenId};
use edgellm_benchmark::quality::answers::{AnswerScores, Answers};
use std::path::Path;

/// A question and the answer that is right.
pub(crate) struct Question {
    /// What the model's template renders.
    messages: Vec<Message>,
    tools: Vec<Json>,
    /// What a model without a template continues.
    text: String,
    answer: String,
}

/// The questions of a file, at most `limit`: a JSON object a line, `{"question", "answer"}`, `{"prompt", "completion"}` or
/// `{"messages"}`, of which the last one is the answer.
///
/// # Errors
/// If it cannot be read, or a line is something else.
pub(crate) fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Question>> {
    let text = edgellm_files::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let questions = lines.take(limit.unwrap_or(usize::MAX)).map(|(index, line)| {
        let failed =
            |problem: String| Error::Text(format!("{}, line {}: {problem}", path.display(), index + 1));
        let line: Json = line.parse().map_err(|error: edgellm::chat::NotJson| failed(error.to_string()))?;
        Question::of(&line).map_err(failed)
    });
    questions.collect()
}

impl Question {
    fn of(line: &Json) -> std::result::Result<Self, String> {
        if let Some(messages) = line.get("messages") {
            let messages = messages.as_array().ok_or("messages is no list")?;
            let messages = messages.iter().cloned().map(Message::from_openai);
            let mut messages: Vec<Message> =
                messages.collect::<std::result::Result<_, _>>().map_err(|error| error.to_string())?;
            let answer = messages.pop().filter(|last| last.role() == "assistant");
            let answer = answer.ok_or("the last message is not the assistant's")?.content().to_string();
            let tools = line.get("tools").and_then(Json::as_array).unwrap_or_default();
            let tools = tools.iter().cloned().map(tool_from_openai).collect();
            let text = messages.last().map_or(String::new(), |last| last.content().to_string());
            return Ok(Question { messages, tools, text, answer });
        }
        let field = |name: &str| line.get(name).and_then(Json::as_str);
        let pair = [("question", "answer"), ("prompt", "completion")].into_iter();
        let (text, answer) = pair
            .filter_map(|(question, answer)| Some((field(question)?, field(answer)?)))
            .next()
            .ok_or("a line has question and answer, prompt and completion, or messages")?;
        let system = field("system").filter(|system| !system.is_empty());
        let mut messages: Vec<Message> =
            system.map(|system| Message::new("system", system)).into_iter().collect();
        messages.push(Message::new("user", text));
        Ok(Question { messages, tools: Vec::new(), text: text.to_string(), answer: answer.to_string() })
    }

    fn tokens(&self, model: &Model, template: Option<&ChatTemplate>) -> Result<Vec<TokenId>> {
        let Some(template) = template else { return prompt::plain(model, &self.text) };
        let prompt = template.render_with_tools(&self.messages, &self.tools, true)?;
        Ok(prompt.tokenize(model.tokenizer(), false).map_err(edgellm::Error::from)?)
    }
}

/// Scores of the model's answers, greedy and of at most `max_tokens` tokens each; `None` if there are no questions. Ctrl-C ends it
/// with the scores of those that were answered.
///
/// # Errors
/// If a question cannot be rendered, or is longer than the context.
pub(crate) fn ask(
    model: &Model,
    questions: &[Question],
    max_tokens: usize,
    options: SessionOptions,
) -> Result<Option<AnswerScores>> {
    let template = prompt::template(model)?;
    let mut session = Session::new(model, options)?;
    let bar = progress::share(questions.len() as u64, "questions");
    let listening = interrupt::Listening::start();
    let mut answers = Answers::default();
    for (index, question) in questions.iter().enumerate() {
        if listening.raised() {
            bar.note(&format!("questions: interrupted after {index} of {}", questions.len()));
            break;
        }
        let prompt = question.tokens(model, template.as_ref())?;
        session.reset();
        let mut sampler = Sampler::new(SamplerOptions::greedy())?;
        let mut text = String::new();
        for token in session.generate(&prompt, &mut sampler)?.max_tokens(max_tokens) {
            text.push_str(&token?.text);
        }
        answers.add(&text, &question.answer);
        bar.set(index as u64 + 1);
    }
    Ok(answers.scores())
}
