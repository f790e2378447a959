//! The model class of the JavaScript interface.

use crate::{Failure, Incoming, Session, info, memory, options, threads};
use edgellm::chat::{ChatPrompt, ChatTemplate, DateTime, Json, Message, NotJson};
use std::fmt::Display;
use wasm_bindgen::prelude::wasm_bindgen;

/// A model and its chat template.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Model {
    model: edgellm::Model,
    template: Option<ChatTemplate>,
}

#[wasm_bindgen]
impl Model {
    /// Opens a file that has arrived. `now`, in milliseconds since 1970, is the date for templates that write one.
    ///
    /// # Errors
    /// `damaged`, `unsupported_model`, `chat_template`.
    pub fn open(incoming: Incoming, now: f64) -> Result<Model, Failure> {
        let model = edgellm::Model::with_compute(incoming.into_bytes()?, threads::compute().clone())?;
        let now = DateTime::from_unix((now / 1000.0) as i64);
        let template = model.chat_template()?.map(|template| template.with_date(now));
        Ok(Model { model, template })
    }

    /// `ModelInfo` of `index.d.ts` as JSON, but for `variant` and `reason`.
    pub fn info(&self) -> String {
        info::info(&self.model).to_string()
    }

    /// An empty session; `options` are `SessionOptions` as JSON.
    ///
    /// # Errors
    /// `invalid`.
    pub fn session(&self, options: &str) -> Result<Session, Failure> {
        Session::new(&self.model, options::session(options)?)
    }

    /// Tokenizes a text.
    ///
    /// # Errors
    /// `invalid`.
    pub fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        Ok(self.model.tokenizer().encode(text, add_special)?)
    }

    /// Detokenizes, special tokens included.
    pub fn detokenize(&self, tokens: &[u32]) -> String {
        self.model.tokenizer().decode(tokens, false)
    }

    /// Renders `messages`, an array as JSON, with the chat template.
    ///
    /// # Errors
    /// `chat_template`, `invalid`.
    #[wasm_bindgen(js_name = applyChatTemplate)]
    pub fn apply_chat_template(&self, messages: &str) -> Result<String, Failure> {
        Ok(self.render(messages)?.text().to_string())
    }

    /// The same as tokens. Special tokens in the messages are text, unless `parse_special_in_content`.
    ///
    /// # Errors
    /// As [`Model::apply_chat_template`].
    #[wasm_bindgen(js_name = tokenizeChat)]
    pub fn tokenize_chat(&self, messages: &str, parse_special_in_content: bool) -> Result<Vec<u32>, Failure> {
        Ok(self.render(messages)?.tokenize(self.model.tokenizer(), parse_special_in_content)?)
    }

    fn render(&self, messages: &str) -> Result<ChatPrompt, Failure> {
        let Some(template) = &self.template else {
            let message = "this model has no chat template: pass text instead of messages";
            return Err(Failure::new("chat_template", message));
        };
        let wrong = |problem: &dyn Display| Failure::invalid(format!("the messages are wrong: {problem}"));
        let messages: Json = messages.parse().map_err(|error: NotJson| wrong(&error))?;
        let messages = messages.as_array().ok_or_else(|| wrong(&"they are no array"))?;
        let messages = messages.iter().cloned().map(Message::from_openai);
        let messages: Vec<Message> = messages.collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
        Ok(template.render(&messages, true)?)
    }
}

/// Bytes of linear memory.
#[wasm_bindgen(js_name = linearBytes)]
pub fn linear_bytes() -> f64 {
    memory::linear_bytes() as f64
}
