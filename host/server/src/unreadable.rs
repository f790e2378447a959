//! Answers to requests that cannot be read, and their orderly end.
//!
//! hyper answers a request that is no HTTP, or whose headers are too large, by a status without a body. That is the only
//! thing that it writes while no request is being answered, so this module can say the same in the shape of our errors.

use crate::connections::Activity;
use crate::error::ApiError;
use http::StatusCode;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long the end of a connection waits for the rest of a request that was refused: closing a socket with unread bytes
/// can take the answer from a client that is still sending.
const REST_TIME: Duration = Duration::from_secs(1);
/// Bytes of such a rest, at most.
const REST_BYTES: usize = 16 << 20;

/// A stream on which refusals of unreadable requests have a body.
#[derive(Debug)]
pub(crate) struct Explained<S> {
    stream: S,
    activity: Arc<Activity>,
    /// The refusal of an unreadable request, and how much of it has been written.
    refusal: Option<(Vec<u8>, usize)>,
    /// While the rest of a request is read: until when, and its bytes so far.
    rest: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Explained<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Explained { stream, activity, refusal: None, rest: None }
    }
}

/// The answer in place of one that has only the status in `head`.
fn refusal(head: &[u8]) -> Vec<u8> {
    let status = head.get(9..12).and_then(|code| StatusCode::from_bytes(code).ok());
    let status = status.unwrap_or(StatusCode::BAD_REQUEST);
    let (code, message) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("headers_too_large", "the request has more than 100 headers, or more than 64 KiB of them")
        }
        StatusCode::URI_TOO_LONG => ("path_too_long", "the path of the request is too long"),
        _ => ("invalid_http", "the request is no valid HTTP/1.1"),
    };
    let body = serde_json::to_string(&ApiError::refused(status, code, message).body()).unwrap_or_default();
    let (length, reason) = (body.len(), status.canonical_reason().unwrap_or_default());
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}",
        status.as_str()
    )
    .into_bytes()
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.refusal.is_none() && this.activity.is_answering() {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        let (answer, written) = this.refusal.get_or_insert_with(|| (refusal(bytes), 0));
        while *written < answer.len() {
            let count = ready!(Pin::new(&mut this.stream).poll_write(context, &answer[*written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // hyper flushes when it has written everything.
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.rest.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let mut space = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let end = || Box::pin(sleep(REST_TIME));
                    let (_, bytes) = this.rest.get_or_insert_with(|| (end(), 0));
                    *bytes += buffer.filled().len();
                    if *bytes > REST_BYTES {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => match &mut this.rest {
                    // The client was still sending: it may not have seen the answer yet.
                    Some((end, _)) => return end.as_mut().poll(context).map(|()| Ok(())),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}
