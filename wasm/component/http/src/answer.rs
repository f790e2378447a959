//! From a request to its answer, whole or as an event stream.

use crate::models;
use crate::request::{ChatRequest, Refusal};
use crate::response::Responder;
use edgellm::generate::FinishReason;
use edgellm::{Session, SessionOptions};
use edgellm_component::{GenerateOptions, Generation, chat_prompt, seconds_since_1970};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use wasip2::random::random::get_random_u64;

/// An answer being generated.
pub(crate) struct Answer {
    id: String,
    created: u64,
    model: String,
    stream: bool,
    include_usage: bool,
    generation: Generation,
}

impl Answer {
    /// Opens the model and processes the prompt.
    pub(crate) fn begin(request: ChatRequest) -> Result<Self, Refusal> {
        let (name, model) = models::open(request.model.as_deref())?;
        let prompt = chat_prompt(&model, &request.messages(), false)?;
        let session =
            Session::new(&model, SessionOptions::default()).map_err(|error| Refusal::new(500, error))?;
        let options = GenerateOptions {
            sampler: request.sampler(),
            max_tokens: request.max_tokens(),
            stop: request.stop(),
            ..GenerateOptions::default()
        };
        let generation = Generation::start(Rc::new(RefCell::new(session)), &prompt, options)?;
        Ok(Answer {
            id: format!("chatcmpl-{:016x}", get_random_u64()),
            created: seconds_since_1970(),
            model: name,
            stream: request.stream,
            include_usage: request.include_usage(),
            generation,
        })
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream
    }

    /// The whole answer.
    pub(crate) fn whole(mut self) -> Result<Value, Refusal> {
        let mut text = String::new();
        while let Some(token) = self.generation.next_token()? {
            text.push_str(&token.text);
        }
        Ok(json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": text },
                "finish_reason": self.finish_reason(),
                "logprobs": null,
            }],
            "usage": self.usage(),
        }))
    }

    /// Streams the answer token by token. It ends when the client disconnects.
    pub(crate) fn stream(mut self, responder: Responder) {
        let Some(mut events) = responder.events() else { return };
        let mut delta = json!({ "role": "assistant", "content": "" });
        loop {
            if events.send(&self.chunk(&delta, Value::Null)).is_err() {
                return;
            }
            delta = match self.generation.next_token() {
                Ok(Some(token)) => json!({ "content": token.text }),
                Ok(None) => break,
                Err(error) => {
                    // Part of the answer has been sent: this event is the only way to report the error.
                    let _ = events.send(&json!({ "error": { "message": error.to_string() } }));
                    return events.end();
                }
            };
        }
        let mut last = events.send(&self.chunk(&json!({}), json!(self.finish_reason())));
        if self.include_usage {
            let mut chunk = self.chunk(&Value::Null, Value::Null);
            chunk["choices"] = json!([]);
            chunk["usage"] = self.usage();
            last = last.and_then(|()| events.send(&chunk));
        }
        if last.is_ok() {
            events.end();
        }
    }

    fn usage(&self) -> Value {
        let timings = self.generation.timings();
        json!({
            "prompt_tokens": timings.prompt_tokens,
            "completion_tokens": timings.generated_tokens,
            "total_tokens": timings.prompt_tokens + timings.generated_tokens,
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        })
    }

    /// OpenAI has only two of the engine's reasons.
    fn finish_reason(&self) -> &'static str {
        match self.generation.finish_reason() {
            Some(FinishReason::Length | FinishReason::ContextFull) => "length",
            Some(FinishReason::Stop) | None => "stop",
        }
    }
}
