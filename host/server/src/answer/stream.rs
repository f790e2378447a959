//! An answer as server-sent events.

use super::builder::AnswerBuilder;
use super::format::Format;
use crate::error::ApiError;
use crate::scheduler::Event;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// After this much silence a comment is sent, so that proxies keep the connection open and a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A response body that writes an answer as its events arrive. It is dropped when the client disconnects, which closes
/// the channel and so cancels the sequences.
#[derive(Debug)]
pub(crate) struct EventStream<F> {
    answer: AnswerBuilder<F>,
    events: UnboundedReceiver<Event>,
    /// The first event, which [`EventStream::begin`] waited for.
    first: Option<Event>,
    include_usage: bool,
    keep_alive: Interval,
    ended: bool,
}

impl<F: Format> EventStream<F> {
    /// Waits for the first event, so that a request that fails before it begins gets an error status.
    ///
    /// # Errors
    /// If the job failed.
    pub(crate) async fn begin(
        answer: AnswerBuilder<F>,
        mut events: UnboundedReceiver<Event>,
        include_usage: bool,
    ) -> Result<Response, ApiError> {
        let first = match events.recv().await {
            Some(Event::Failed(failure)) => return Err(failure.into()),
            Some(event) => event,
            None => return Err(ApiError::scheduler_gone()),
        };
        let mut keep_alive = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let body =
            EventStream { answer, events, first: Some(first), include_usage, keep_alive, ended: false };
        let mut response = axum::body::Body::new(body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // nginx would buffer the response.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }

    /// Appends what an event adds to the stream.
    fn write(&mut self, event: Option<Event>, out: &mut Vec<u8>) {
        match event {
            None => self.fail(&ApiError::scheduler_gone(), out),
            Some(Event::Failed(failure)) => self.fail(&failure.into(), out),
            Some(event) => {
                self.answer.pieces(event).iter().for_each(|piece| data(piece, out));
                if self.answer.tally.open == 0 {
                    if self.include_usage {
                        data(&self.answer.usage_piece(), out);
                    }
                    out.extend_from_slice(b"data: [DONE]\n\n");
                    self.answer.tally.outcome = "complete";
                    self.ended = true;
                }
            }
        }
    }

    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        data(&error.body(), out);
        self.answer.tally.outcome = "failed";
        self.ended = true;
    }
}

/// One event of the stream.
fn data(piece: &impl serde::Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    // Nothing here has keys or numbers that JSON cannot write.
    if serde_json::to_writer(&mut *out, piece).is_err() {
        out.extend_from_slice(b"{}");
    }
    out.extend_from_slice(b"\n\n");
}

impl<F: Format> Body for EventStream<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let mut out = Vec::new();
        if let Some(first) = this.first.take() {
            this.write(Some(first), &mut out);
        }
        // Everything that is available goes into one frame.
        while !this.ended {
            match this.events.poll_recv(context) {
                Poll::Ready(event) => this.write(event, &mut out),
                Poll::Pending => break,
            }
        }
        if !out.is_empty() {
            this.keep_alive.reset();
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        if this.keep_alive.poll_tick(context).is_ready() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": waiting\n\n")))));
        }
        Poll::Pending
    }
}
