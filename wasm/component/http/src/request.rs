//! Requests.

use edgellm::chat::Message;
use edgellm::sampler::SamplerOptions;
use serde::Deserialize;
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

/// The supported fields of a chat completion. Others are refused rather than ignored: `edgellm serve` supports more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<ChatMessage>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    max_completion_tokens: Option<usize>,
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    top_p: Option<f32>,
    #[serde(default)]
    presence_penalty: Option<f32>,
    #[serde(default)]
    frequency_penalty: Option<f32>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// Number of answers; only 1 is supported.
    #[serde(default)]
    n: Option<u32>,
    /// The end user, which is ignored.
    #[serde(default, rename = "user")]
    _user: Option<String>,
}

/// A message with text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatMessage {
    role: String,
    content: String,
    #[serde(default, rename = "name")]
    _name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl ChatRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let request: Self = serde_json::from_slice(body)
            .map_err(|error| Refusal::new(400, format!("the body is invalid: {error}")))?;
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
            top_p: self.top_p.unwrap_or(default.top_p),
            presence_penalty: self.presence_penalty.unwrap_or(default.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(default.frequency_penalty),
            seed: self.seed.map_or(default.seed, |seed| seed as u64),
            ..default
        }
    }

    /// Whether the stream ends with token counts.
    pub(crate) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    pub(crate) fn max_tokens(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens)
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
    fn what_it_does_not_know_is_refused_by_name() {
        let refusal = ChatRequest::parse(br#"{"messages": [], "tools": []}"#).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.message.contains("tools"), "{}", refusal.message);
        let refusal = ChatRequest::parse(br#"{"messages": [], "n": 2}"#).unwrap_err();
        assert!(refusal.message.contains("n must be 1"), "{}", refusal.message);
    }
}
