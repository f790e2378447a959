//! The app on a socket: connections with time limits, and draining at shutdown.
//!
//! axum's own server loop has no limits for slow clients, so this module drives hyper's connections itself.

use crate::access::Peer;
use crate::app::app;
use crate::connections::{Busy, Connections, Place, SPARE_TIME, Spare};
use crate::paced::Paced;
use crate::server::Server;
use crate::unreadable::Explained;
use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// Size of the read buffer, and so of the headers of a request.
const BUFFER: usize = 64 << 10;
/// How long aborted sequences have to end.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another with --host and --port")]
    Bind {
        /// Host and port.
        address: String,
        /// The reason.
        source: io::Error,
    },
}

/// Binds a socket to `host` and `port`; port 0 takes any free port.
///
/// # Errors
/// [`ListenError::Bind`].
pub async fn bind(host: &str, port: u16) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Bind { address: format!("{host}:{port}"), source };
    TcpListener::bind((host, port)).await.map_err(failed)
}

/// Answers requests until `shutdown` completes, then drains: running requests have
/// [`Options::drain_timeout`](crate::Options::drain_timeout) to finish.
pub async fn listen(server: Server, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let tidy = tokio::spawn({
        let server = server.clone();
        async move { server.tidy().await }
    });
    let watched = GracefulShutdown::new();
    let options = server.options();
    let connections = Connections::new(options.max_connections, options.trust_proxy);
    let router = app(&server);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly a lack of file descriptors, which other connections will release.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = connections.admit(peer.ip()) else {
            tracing::debug!(%peer, "no room for a connection");
            continue;
        };
        let connection =
            watched.watch(connection(router.clone(), stream, peer, &place, options.client_timeout));
        let metrics = server.metrics().clone();
        tokio::spawn(async move {
            metrics.connections.inc();
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    if error.is_parse() {
                        metrics.rejected.with_label_values(&["invalid_http"]).inc();
                    }
                    tracing::debug!(%peer, %error, "a connection ended");
                },
                () = place.taken() => tracing::debug!(%peer, "an idle connection made room for another"),
            }
            metrics.connections.dec();
        });
    }
    drop(listener);
    server.drain();
    tracing::info!("shutting down: finishing running requests");
    // The others close after their answer.
    connections.close_waiting();
    let drained = watched.shutdown();
    tokio::pin!(drained);
    if tokio::time::timeout(server.options().drain_timeout, &mut drained).await.is_err() {
        tracing::warn!("running requests exceed the drain timeout and are aborted");
        server.abort();
        let _ = tokio::time::timeout(ABORT_TIME, drained).await;
    }
    tidy.abort();
}

/// One connection, and all its requests.
fn connection(
    router: axum::Router,
    stream: TcpStream,
    peer: SocketAddr,
    place: &Place,
    limit: Duration,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<> {
    // Every token is sent at once, however small.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let (spare, activity) = (place.spare, Arc::clone(&place.activity));
    let limit = if spare { limit.min(SPARE_TIME) } else { limit };
    // The system forgets the bytes, too, that a client does not take.
    let give_up = |stream: &TcpStream| {
        let _ = stream.set_zero_linger();
    };
    let io = TokioIo::new(Explained::new(Paced::new(stream, limit, give_up), Arc::clone(&activity)));
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let busy = activity.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        if spare {
            request.extensions_mut().insert(Spare);
        }
        let response = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(response.await?.map(|body| Answer { body, _busy: busy })) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(BUFFER)
        .keep_alive(!spare)
        .serve_connection(io, service)
}

/// The body of an answer. The connection waits for the next request when it is dropped.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
