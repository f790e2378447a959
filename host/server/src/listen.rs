//! The app on a socket: connections with time limits, and draining at shutdown.
//!
//! axum's own server loop has no limits for slow clients, so this module drives hyper's connections itself.

use crate::access::Peer;
use crate::app::app;
use crate::server::Server;
use crate::timed::TimedWrites;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;

/// Time limit for the headers of a request, and for an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
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
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(server.options().max_connections));
    let (router, limit) = (app(&server), server.options().client_timeout);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => accepted,
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
        let connection = connections.watch(connection(router.clone(), stream, peer, limit));
        let gauge = server.metrics().connections.clone();
        tokio::spawn(async move {
            gauge.inc();
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
            gauge.dec();
            drop(place);
        });
    }
    drop(listener);
    server.drain();
    tracing::info!("shutting down: finishing running requests");
    let drained = connections.shutdown();
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
    write_limit: Duration,
) -> http1::Connection<
    TokioIo<TimedWrites<TcpStream>>,
    impl hyper::service::Service<
        http::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Send,
> {
    // Every token is sent at once, however small.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "no TCP_NODELAY");
    }
    let io = TokioIo::new(TimedWrites::new(stream, write_limit));
    let service = ServiceBuilder::new()
        .map_request(move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request.map(axum::body::Body::new)
        })
        .service(router);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(io, TowerToHyperService::new(service))
}
