//! Requests.

use edgellm::chat::Message;
use edgellm::json::{self, JsonError};
use edgellm::sampler::SamplerOptions;
use serde::Deserialize;
use serde_json::Value;
use std::io::Read as _;
use wasip2::http::types::IncomingRequest;

/// Largest body of a request.
const MAX_BODY: u64 = 1 << 20;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl ToString) -> Self {
        Refusal { status, message: message.to_string() }
    }
}

impl From<edgellm_component::Error> for Refusal {
    fn from(error: edgellm_component::Error) -> Self {
        Refusal::new(400, error)
    }
}

/// Fields that would change the answer and are not supported here, and JSON lists of the values with which they do not, besides
/// null: `host/server/src/api/fields/tables.rs` has more on each. All other fields have no effect.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("tools", "[[]]"),
    ("tool_choice", r#"["auto", "none"]"#),
    ("response_format", r#"[{"type": "text"}]"#),
    ("json_schema", "[]"),
    ("logprobs", "[false]"),
    ("top_logprobs", "[0]"),
    ("logit_bias", "[{}]"),
    ("ignore_eos", "[false]"),
    ("repeat_last_n", "[64]"),
    ("audio", "[]"),
    ("modalities", r#"[["text"]]"#),
    ("functions", "[[]]"),
    ("function_call", r#"["auto", "none"]"#),
    ("web_search_options", "[]"),
    ("reasoning_effort", r#"["none", "medium"]"#),
    ("verbosity", r#"["medium"]"#),
    ("reasoning_format", r#"["auto", "none"]"#),
    ("reasoning_budget", "[-1]"),
    ("thinking_budget_tokens", "[-1]"),
    ("parse_tool_calls", "[true]"),
    ("add_generation_prompt", "[true]"),
    ("chat_template_kwargs", "[{}]"),
    ("chat_template", "[]"),
    ("continue_final_message", "[false]"),
    ("documents", "[[]]"),
    ("echo", "[false]"),
    ("add_special_tokens", "[false]"),
    ("best_of", "[1]"),
    ("n_cmpl", "[1]"),
    ("n_indent", "[0]"),
    ("n_probs", "[0]"),
    ("post_sampling_probs", "[false]"),
    ("t_max_predict_ms", "[0, -1]"),
    ("grammar", r#"[""]"#),
    ("grammar_lazy", "[false]"),
    ("grammar_triggers", "[[]]"),
    ("lora", "[[]]"),
    ("guided_json", "[]"),
    ("guided_regex", "[]"),
    ("guided_choice", "[]"),
    ("guided_grammar", "[]"),
    ("structured_outputs", "[]"),
    ("min_tokens", "[0]"),
    ("stop_token_ids", "[[]]"),
    ("include_stop_str_in_output", "[false]"),
    ("skip_special_tokens", "[true]"),
    ("prompt_logprobs", "[]"),
    ("truncate_prompt_tokens", "[]"),
    ("return_token_ids", "[false]"),
    ("return_tokens_as_token_ids", "[false]"),
    ("typical_p", "[1]"),
    ("tfs_z", "[1]"),
    ("top_n_sigma", "[-1, 0]"),
    ("xtc_probability", "[0]"),
    ("dynatemp_range", "[0]"),
    ("dry_multiplier", "[0]"),
    ("mirostat", "[0]"),
    ("adaptive_target", "[-1]"),
    ("min_keep", "[0, 1]"),
    ("samplers", SAMPLERS),
    ("use_beam_search", "[false]"),
    ("bad_words", "[[]]"),
    ("allowed_token_ids", "[]"),
    ("logits_processors", "[[]]"),
];

/// The samplers that llama.cpp uses by default.
const SAMPLERS: &str = r#"[
    ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"], "edskypmxt"
]"#;

/// The supported fields of a chat completion.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<ChatMessage>,
    #[serde(default, deserialize_with = "json::limit")]
    max_tokens: Option<usize>,
    #[serde(default, deserialize_with = "json::limit")]
    max_completion_tokens: Option<usize>,
    /// llama.cpp's name of `max_tokens`.
    #[serde(default, deserialize_with = "json::limit")]
    n_predict: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    #[serde(default, deserialize_with = "json::limit_or_zero")]
    top_k: Option<usize>,
    min_p: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    repetition_penalty: Option<f32>,
    /// llama.cpp's name of `repetition_penalty`.
    repeat_penalty: Option<f32>,
    seed: Option<i64>,
    stop: Option<Stop>,
    #[serde(default)]
    pub(crate) stream: bool,
    stream_options: Option<StreamOptions>,
    /// Number of answers; only 1 is supported.
    n: Option<u32>,
}

/// A message with text.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatMessage {
    role: String,
    content: String,
    /// Not supported.
    #[serde(default)]
    tool_calls: Value,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

impl ChatRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let invalid = |error: JsonError| Refusal::new(400, format!("the body is invalid: {error}"));
        let fields = Value::Object(json::read(body).map_err(invalid)?);
        let refuse = |name: &str| {
            let message = format!("{name} is not supported here: leave it out, or use `edgellm serve`");
            Err(Refusal::new(400, message))
        };
        let unsupported = |(name, neutral): &&(&str, &str)| {
            let value = fields.get(name).unwrap_or(&Value::Null);
            let neutral: Vec<Value> = serde_json::from_str(neutral).unwrap_or_default();
            !value.is_null() && !neutral.iter().any(|neutral| same(neutral, value))
        };
        if let Some((name, _)) = UNSUPPORTED.iter().find(unsupported) {
            return refuse(name);
        }
        let request: Self = json::from_value(&fields).map_err(invalid)?;
        let none = |calls: &Value| calls.is_null() || calls.as_array().is_some_and(Vec::is_empty);
        if !request.messages.iter().all(|message| none(&message.tool_calls)) {
            return refuse("tool_calls");
        }
        match request.n {
            None | Some(1) => Ok(request),
            Some(n) => Err(Refusal::new(
                400,
                format!("n must be 1, not {n}: send another request for another answer"),
            )),
        }
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.messages.iter().map(|message| Message::new(&message.role, &message.content)).collect()
    }

    /// Sampling as OpenAI describes it, with `edgellm serve`'s defaults.
    pub(crate) fn sampler(&self) -> SamplerOptions {
        let default = SamplerOptions::default();
        SamplerOptions {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            repetition_penalty: self
                .repetition_penalty
                .or(self.repeat_penalty)
                .unwrap_or(default.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(default.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(default.frequency_penalty),
            // Clients write -1 for any seed.
            seed: self.seed.filter(|&seed| seed != -1).map_or(default.seed, |seed| seed as u64),
            ..default
        }
    }

    /// Whether the stream ends with token counts.
    pub(crate) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    pub(crate) fn max_tokens(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens).or(self.n_predict)
    }

    pub(crate) fn stop(&self) -> Vec<String> {
        match &self.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text.clone()],
            Some(Stop::Several(texts)) => texts.clone(),
        }
    }
}

/// Reads the body of a request, up to [`MAX_BODY`].
pub(crate) fn read(request: &IncomingRequest) -> Result<ChatRequest, Refusal> {
    let unreadable = |_| Refusal::new(400, "the body cannot be read");
    let body = request.consume().map_err(unreadable)?;
    let stream = body.stream().map_err(unreadable)?;
    let mut bytes = Vec::new();
    stream
        .take(MAX_BODY + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Refusal::new(400, format!("the body cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BODY {
        return Err(Refusal::new(413, format!("the body is longer than {MAX_BODY} bytes")));
    }
    ChatRequest::parse(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read() {
        let body =
            br#"{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stop": "x", "seed": 3}"#;
        let request = ChatRequest::parse(body).unwrap();
        assert_eq!(request.messages(), [Message::new("user", "Hi")]);
        assert_eq!(
            (request.max_tokens(), request.stop(), request.sampler().seed),
            (Some(5), vec!["x".into()], 3)
        );
        assert!(!request.stream);
    }

    #[test]
    fn requests_are_read_as_clients_write_them() {
        let body =
            br#"{"messages": [{"role": "user", "content": "Hi", "name": null, "tool_calls": null}], "n": 1.0,
            "max_tokens": -1, "top_k": -1, "seed": -1, "stop": null, "stream": null, "stream_options": null,
            "repetition_penalty": 1.5, "repeat_penalty": 2, "temperature": 1, "temperature": 0, "tools": [],
            "logprobs": false, "n_predict": 7, "mirostat": 0, "typical_p": 1, "best_of": 1.0, "grammar": "",
            "samplers": "edskypmxt", "response_format": {"type": "text"}, "metadata": {"a": "b"}, "store": true}"#;
        let request = ChatRequest::parse(body).unwrap();
        let sampler = request.sampler();
        assert_eq!((request.max_tokens(), sampler.top_k, sampler.seed), (Some(7), 0, 0));
        assert_eq!((sampler.repetition_penalty, sampler.temperature), (1.5, 0.0));
    }

    #[test]
    fn what_would_change_the_answer_is_refused_by_name() {
        let of = |field: &str| {
            ChatRequest::parse(format!("{{\"messages\": [], {field}}}").as_bytes()).unwrap_err()
        };
        for (field, name) in [
            (r#""tools": [{"type": "function"}]"#, "tools"),
            (r#""response_format": {"type": "json_object"}"#, "response_format"),
            (r#""logprobs": true"#, "logprobs"),
            (r#""n": 2"#, "n must be 1"),
            (r#""mirostat": 2"#, "mirostat"),
            (r#""grammar": "root""#, "grammar"),
            (r#""typical_p": 0.9"#, "typical_p"),
            (r#""best_of": true"#, "best_of"),
            (r#""messages": [{"role": "user"}]"#, "messages[0].content"),
            (r#""messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]"#, "tool_calls"),
        ] {
            let refusal = of(field);
            assert_eq!(refusal.status, 400);
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
    }
}
