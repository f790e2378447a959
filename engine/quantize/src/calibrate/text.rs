//! Calibration text: documents and conversations, cut into windows of tokens.

use crate::sha256::sha256;
use edgellm::chat::{Json, Message};
use edgellm::{Model, TokenId};

/// What a model is run on to see what its layers' inputs are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalibrationText {
    /// Where it came from, for the file's record of how it was made.
    name: String,
    /// Of its bytes, in hexadecimal.
    sha256: String,
    documents: Vec<Document>,
    /// Whether conversations that the template refuses are taken as plain text: not everybody's, who would not know.
    lenient: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Document {
    Text(String),
    /// Rendered by the model's template, or as plain text if it has none.
    Chat(Vec<Message>),
}

/// Why a file is no calibration text, or gives too little of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationTextError {
    /// It is no text.
    #[error("byte {position} is not UTF-8: give a text file, or JSON lines")]
    Encoding {
        /// Where the valid text ends.
        position: usize,
    },
    /// A line of JSON is not of a form that is known.
    #[error("line {line} {problem}: a line is {{\"messages\": [...]}} or {{\"text\": \"...\"}}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The model's template refuses a conversation.
    #[error(
        "conversation {number} cannot be rendered by the model's chat template ({problem}): change it, or remove it"
    )]
    Template {
        /// Its number among all documents, from 1.
        number: usize,
        /// The template's message.
        problem: String,
    },
    /// The text cannot be tokenized.
    #[error("the text cannot be tokenized: {0}")]
    Tokenizer(String),
    /// Not even one window.
    #[error("the text has {found} tokens, and at least {needed} are needed: give a longer one")]
    TooShort {
        /// Its tokens.
        found: usize,
        /// Those of a window.
        needed: usize,
    },
}

/// The line between two documents of a text.
const SEPARATOR: &str = "\n<|document|>\n";

impl CalibrationText {
    /// Text of many kinds that comes with the program: prose, code, conversations, several languages.
    pub fn built_in() -> Self {
        let [prose, code] =
            [include_str!("../../calibration/prose.txt"), include_str!("../../calibration/code.txt")];
        let chats = include_str!("../../calibration/chats.jsonl");
        CalibrationText::mixed("built in", &[prose, code], chats)
    }

    /// Text of the same kinds that has nothing in common with [`CalibrationText::built_in`], to measure on.
    pub fn held_out() -> Self {
        let [prose, code] = [
            include_str!("../../calibration/heldout-prose.txt"),
            include_str!("../../calibration/heldout-code.txt"),
        ];
        let chats = include_str!("../../calibration/heldout-chats.jsonl");
        CalibrationText::mixed("built in, held out", &[prose, code], chats)
    }

    fn mixed(name: &str, texts: &[&str], chats: &str) -> Self {
        let sha256 = sha256(texts.iter().chain([&chats]).map(|text| text.as_bytes()));
        let texts = texts.iter().flat_map(|text| documents(text));
        // A line that is none would be a fault of this crate, which a test finds.
        let chats = chats.lines().enumerate().filter_map(|(index, line)| document(index + 1, line).ok());
        CalibrationText {
            name: name.to_string(),
            sha256,
            documents: texts.chain(chats).collect(),
            lenient: true,
        }
    }

    /// Reads a file: JSON lines of conversations or texts, or plain text.
    ///
    /// # Errors
    /// [`CalibrationTextError`] if it is neither.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, CalibrationTextError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| CalibrationTextError::Encoding { position: error.valid_up_to() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let is_json = text.trim_start().starts_with('{');
        let documents = if is_json {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines.map(|(index, line)| document(index + 1, line)).collect::<Result<_, _>>()?
        } else {
            documents(text).collect()
        };
        Ok(CalibrationText { name: name.to_string(), sha256: sha256([bytes]), documents, lenient: false })
    }

    /// Where it came from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its bytes, in hexadecimal: of what comes with the program, of its files one after the other.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// At most `count` windows of `length` tokens, spread over all of it. Windows begin as the model's texts begin.
    ///
    /// # Errors
    /// [`CalibrationTextError`] if a conversation cannot be rendered, or there is not one whole window.
    pub fn windows(
        &self,
        model: &Model,
        length: usize,
        count: usize,
    ) -> Result<Vec<Vec<TokenId>>, CalibrationTextError> {
        let tokens = self.tokens(model)?;
        let whole = tokens.len() / length.max(1);
        if whole == 0 {
            return Err(CalibrationTextError::TooShort { found: tokens.len(), needed: length });
        }
        let first = model.tokenizer().surround(&[]).first().copied();
        let count = count.clamp(1, whole);
        let windows = (0..count).map(|index| {
            let start = index * whole / count * length;
            let mut window: Vec<TokenId> = tokens.iter().skip(start).take(length).copied().collect();
            if let (Some(first), Some(begin)) = (first, window.first_mut()) {
                *begin = first;
            }
            window
        });
        Ok(windows.collect())
    }

    fn tokens(&self, model: &Model) -> Result<Vec<TokenId>, CalibrationTextError> {
        let tokenizer = model.tokenizer();
        let failed =
            |error: edgellm::tokenizer::TokenizerError| CalibrationTextError::Tokenizer(error.to_string());
        let mut tokens = Vec::new();
        for (index, document) in self.documents.iter().enumerate() {
            match document {
                Document::Text(text) => {
                    tokens.extend(tokenizer.surround(&tokenizer.encode_plain(text).map_err(failed)?));
                }
                Document::Chat(messages) => {
                    let rendered = match render(model, messages) {
                        Err(_) if self.lenient => None,
                        Err(problem) => {
                            return Err(CalibrationTextError::Template { number: index + 1, problem });
                        }
                        Ok(rendered) => rendered,
                    };
                    match rendered {
                        Some(prompt) => tokens.extend(prompt.tokenize(tokenizer, false).map_err(failed)?),
                        None => {
                            let text: Vec<&str> = messages.iter().map(Message::content).collect();
                            let text = tokenizer.encode_plain(&text.join("\n\n")).map_err(failed)?;
                            tokens.extend(tokenizer.surround(&text));
                        }
                    }
                }
            }
        }
        Ok(tokens)
    }
}

/// A conversation by the model's template, without its system message where the template knows none; `None` without template.
fn render(model: &Model, messages: &[Message]) -> Result<Option<edgellm::chat::ChatPrompt>, String> {
    let template = match model.chat_template() {
        Ok(Some(template)) => template,
        Ok(None) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let first = template.render(messages, false);
    match (first, messages.split_first()) {
        (Err(_), Some((system, rest))) if system.role() == "system" => template.render(rest, false),
        (first, _) => first,
    }
    .map(Some)
    .map_err(|error| error.to_string())
}

/// The documents of a text.
fn documents(text: &str) -> impl Iterator<Item = Document> {
    let documents = text.split(SEPARATOR).map(str::trim).filter(|text| !text.is_empty());
    documents.map(|text| Document::Text(text.to_string()))
}

/// The document of a line of JSON.
fn document(line: usize, json: &str) -> Result<Document, CalibrationTextError> {
    let wrong = |problem: String| CalibrationTextError::Line { line, problem };
    let json: Json = json.parse().map_err(|error| wrong(format!("is not JSON ({error})")))?;
    if let Some(text) = json.get("text").and_then(Json::as_str) {
        return Ok(Document::Text(text.to_string()));
    }
    let messages = json.get("messages").and_then(Json::as_array);
    let messages = messages.ok_or_else(|| wrong("has neither messages nor a text".to_string()))?;
    if messages.is_empty() {
        return Err(wrong("has a conversation without messages".to_string()));
    }
    let messages = messages.iter().map(|message| Message::from_openai(message.clone()));
    messages
        .collect::<Result<_, _>>()
        .map(Document::Chat)
        .map_err(|error| wrong(format!("is wrong: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgellm::testing::{recipes, seeded_chat_model};

    fn model(template: &str) -> Model {
        Model::from_bytes(seeded_chat_model(recipes()[0], 1, Some(template)).unwrap()).unwrap()
    }

    #[test]
    fn what_is_built_in_is_whole() {
        let lines = include_str!("../../calibration/chats.jsonl").lines();
        assert!(lines.clone().count() > 50);
        let held_out = include_str!("../../calibration/heldout-chats.jsonl").lines();
        for (index, line) in lines.chain(held_out).enumerate() {
            assert_eq!(document(index + 1, line).err(), None);
        }
        let (built_in, held_out) = (CalibrationText::built_in(), CalibrationText::held_out());
        assert!(built_in.documents.len() > 150 && held_out.documents.len() > 20);
        for document in &held_out.documents {
            assert!(!built_in.documents.contains(document), "{document:?} is in both");
        }
    }

    #[test]
    fn files_are_text_or_json_lines() {
        let parse = |text: &str| CalibrationText::parse("x", text.as_bytes());
        let text = parse("one\n<|document|>\n\n<|document|>\ntwo\n").unwrap();
        assert_eq!(text.documents, ["one", "two"].map(|text| Document::Text(text.to_string())));
        let chat =
            parse("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n\n{\"text\": \"x\"}\n")
                .unwrap();
        assert_eq!(chat.documents.len(), 2);
        for (wrong, line) in
            [("{\"messages\": []}", 1), ("{\"text\": \"a\"}\n{\"a\": 1}", 2), ("{\"text\": \"a\"}\nb", 2)]
        {
            match parse(wrong) {
                Err(CalibrationTextError::Line { line: found, .. }) => assert_eq!(found, line, "{wrong}"),
                other => panic!("{wrong}: {other:?}"),
            }
        }
        let latin = CalibrationText::parse("x", b"caf\xe9 au lait");
        assert_eq!(latin, Err(CalibrationTextError::Encoding { position: 3 }));
    }

    #[test]
    fn windows_are_spread_over_the_text() {
        let model = model("{% for m in messages %}<{{ m.content }}>{% endfor %}");
        let letters: String = ('a'..='z').cycle().take(103).collect();
        let text = CalibrationText::parse("x", letters.as_bytes()).unwrap();
        let windows = text.windows(&model, 10, 5).unwrap();
        assert_eq!(windows.iter().map(Vec::len).collect::<Vec<_>>(), [10; 5]);
        let all = text.windows(&model, 10, 1000).unwrap();
        assert_eq!(all.len(), 10);
        assert_eq!(windows, [0, 2, 4, 6, 8].map(|index| all[index].clone()));
        assert_eq!(
            text.windows(&model, 200, 1),
            Err(CalibrationTextError::TooShort { found: 103, needed: 200 })
        );
    }

    #[test]
    fn conversations_are_rendered_as_the_model_knows_them() {
        let chat = "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"}]}";
        let chat = CalibrationText::parse("x", chat.as_bytes()).unwrap();
        let rendered = |template| {
            let model = model(template);
            chat.tokens(&model).map(|tokens| model.tokenizer().decode(&tokens, false))
        };
        assert_eq!(rendered("{% for m in messages %}<{{ m.content }}>{% endfor %}").unwrap(), "<s><u>");
        let without = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}\
                       <{{ m.content }}>{% endfor %}";
        assert_eq!(rendered(without).unwrap(), "<u>");
        assert_eq!(rendered("").unwrap(), "s\n\nu");
        let error = rendered("{{ raise_exception('never') }}").unwrap_err();
        assert!(matches!(error, CalibrationTextError::Template { number: 1, .. }), "{error}");
        // What comes with the program has to do for every model.
        let never = model("{{ raise_exception('never') }}");
        assert!(CalibrationText::built_in().tokens(&never).unwrap().len() > 100_000);
    }
}
