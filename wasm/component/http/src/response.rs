//! Responses.

use crate::request::Refusal;
use serde_json::{Value, json};
use std::io::{self, Write};
use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::OutputStream;

/// Sends one response to the client.
pub(crate) struct Responder(ResponseOutparam);

impl Responder {
    pub(crate) fn new(out: ResponseOutparam) -> Self {
        Responder(out)
    }

    /// Answers with JSON.
    pub(crate) fn json(self, status: u16, body: &Value) {
        if let Some(mut answer) = self.begin(status, "application/json") {
            let sent = answer.write(format!("{body}\n").as_bytes());
            // If it fails, the client has gone away.
            let _ = sent.map(|()| answer.end());
        }
    }

    /// Answers with an error in OpenAI's format.
    pub(crate) fn refuse(self, refusal: &Refusal) {
        let kind = if refusal.status < 500 { "invalid_request_error" } else { "server_error" };
        let error = json!({ "message": refusal.message, "type": kind, "param": null, "code": null });
        self.json(refusal.status, &json!({ "error": error }));
    }

    /// Answers with an event stream.
    pub(crate) fn events(self) -> Option<Events> {
        self.begin(200, "text/event-stream").map(Events)
    }

    fn begin(self, status: u16, content_type: &str) -> Option<Body> {
        let fields = [("content-type".to_string(), content_type.as_bytes().to_vec())];
        let response = OutgoingResponse::new(Fields::from_list(&fields).ok()?);
        response.set_status_code(status).ok()?;
        let body = response.body().ok()?;
        let stream = body.write().ok()?;
        ResponseOutparam::set(self.0, Ok(response));
        Some(Body { stream, body })
    }
}

struct Body {
    stream: OutputStream,
    body: OutgoingBody,
}

impl Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        Write::flush(&mut self.stream)
    }

    fn end(self) {
        drop(self.stream);
        // If it fails, the client has gone away.
        let _ = OutgoingBody::finish(self.body, None);
    }
}

/// An event stream.
pub(crate) struct Events(Body);

impl Events {
    /// Sends an event.
    pub(crate) fn send(&mut self, event: &Value) -> io::Result<()> {
        self.0.write(format!("data: {event}\n\n").as_bytes())
    }

    /// Ends the stream.
    pub(crate) fn end(mut self) {
        if self.0.write(b"data: [DONE]\n\n").is_ok() {
            self.0.end();
        }
    }
}
