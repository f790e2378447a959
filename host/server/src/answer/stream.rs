//! An answer as server-sent events.

use super::Answer;
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

/// Silence after which a comment is sent, so that proxies keep the connection and a dead one is found out.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A response's body that writes an answer as its events come. When the client goes away it is dropped, and with it
/// the channel's end that keeps the sequences alive.
#[derive(Debug)]
pub(crate) struct EventStream<A> {
    answer: A,
    events: UnboundedReceiver<Event>,
    /// The event that told that work has begun.
    first: Option<Event>,
    include_usage: bool,
    keep_alive: Interval,
    ended: bool,
}

impl<A: Answer> EventStream<A> {
    /// Waits until work on the answer begins, so that what fails before that has its own status.
    ///
    /// # Errors
    /// If the job failed.
    pub(crate) async fn begin(
        answer: A,
        mut events: UnboundedReceiver<Event>,
        include_usage: bool,
    ) -> Result<Response, ApiError> {
        let first = match events.recv().await {
            Some(Event::Failed(failure)) => return Err(failure.into()),
            Some(event) => event,
            None => return Err(ApiError::internal("the model's thread has ended: see the server's log")),
        };
        let mut keep_alive = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let body =
            EventStream { answer, events, first: Some(first), include_usage, keep_alive, ended: false };
        let mut response = axum::body::Body::new(body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // nginx would hold the pieces back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }

    /// What an event adds to the stream.
    fn write(&mut self, event: Option<Event>, out: &mut Vec<u8>) {
        match event {
            None => self.fail(&ApiError::internal("the model's thread has ended: see the server's log"), out),
            Some(Event::Failed(failure)) => self.fail(&failure.into(), out),
            Some(event) => {
                self.answer.tally().count(&event);
                self.answer.pieces(event).iter().for_each(|piece| data(piece, out));
                if self.answer.tally().open == 0 {
                    if self.include_usage {
                        data(&self.answer.usage_piece(), out);
                    }
                    out.extend_from_slice(b"data: [DONE]\n\n");
                    self.answer.tally().outcome = "complete";
                    self.ended = true;
                }
            }
        }
    }

    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        data(&error.body(), out);
        self.answer.tally().outcome = "failed";
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

impl<A: Answer> Body for EventStream<A> {
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
        // All that is there goes into one frame.
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
