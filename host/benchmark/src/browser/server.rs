//! The server that the page talks to: a few paths on the loopback interface.

use super::{Page, Posted};
use crate::protocol::{Answer, Hello, Request};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The page: it loads the engine's module and then runs the prompts that it gets.
const PAGE: &str = include_str!("page.html");
/// How long the page's request for work stays open.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Largest body: the logits of one token.
const MAX_BODY: usize = 8 << 20;

/// A running server.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// What the page has posted.
    pub(super) posted: Receiver<Posted>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    page: Page,
    sender: Sender<Posted>,
    work: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Request>>,
    ask: tokio::sync::mpsc::UnboundedSender<Request>,
    logits: Mutex<Vec<u8>>,
}

impl Shared {
    fn logits(&self) -> MutexGuard<'_, Vec<u8>> {
        self.logits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Listens on a free port.
    pub(super) fn start(page: &Page) -> io::Result<Self> {
        let (sender, posted) = mpsc::channel();
        let (ask, work) = tokio::sync::mpsc::unbounded_channel();
        let work = tokio::sync::Mutex::new(work);
        let shared = Arc::new(Shared { page: page.clone(), sender, work, ask, logits: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/", get(|| async { isolated(Html(PAGE)) }))
            .route("/engine.js", get(engine))
            .route("/setting", get(setting))
            .route("/package/{*path}", get(package))
            .route("/model", get(model))
            .route("/next", get(next))
            .route("/hello", post(hello))
            .route("/answer", post(answer))
            .route("/logits", post(logits))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Server { address, shared, posted, _runtime: runtime })
    }

    /// The page's address.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Gives the page a prompt to run.
    pub(super) fn ask(&self, request: Request) {
        // The receiver lives as long as this.
        let _ = self.shared.ask.send(request);
    }

    /// The logits posted since the last call.
    pub(super) fn take_logits(&self) -> Vec<u8> {
        std::mem::take(&mut self.shared.logits())
    }
}

/// With the headers that let the page share memory between threads.
fn isolated(response: impl IntoResponse) -> Response {
    let headers = [
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, response).into_response()
}

async fn engine(State(shared): State<Arc<Shared>>) -> Response {
    isolated(([(header::CONTENT_TYPE, "text/javascript")], shared.page.engine.module()))
}

async fn setting(State(shared): State<Arc<Shared>>) -> Response {
    let Page { threads, context, .. } = shared.page;
    let setting = serde_json::json!({"threads": threads, "context": context});
    isolated(([(header::CONTENT_TYPE, "application/json")], setting.to_string()))
}

async fn package(State(shared): State<Arc<Shared>>, UrlPath(path): UrlPath<String>) -> Response {
    let path = PathBuf::from(path);
    // Nothing outside the package.
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return StatusCode::NOT_FOUND.into_response();
    }
    file(shared.page.package.join(path)).await
}

async fn model(State(shared): State<Arc<Shared>>) -> Response {
    file(shared.page.model.clone()).await
}

async fn file(path: PathBuf) -> Response {
    let kind = match path.extension().and_then(|ending| ending.to_str()) {
        Some("js" | "mjs") => "text/javascript",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    };
    let read = |path: &Path| std::fs::read(path);
    match tokio::task::spawn_blocking(move || read(&path)).await {
        Ok(Ok(bytes)) => isolated(([(header::CONTENT_TYPE, kind)], bytes)),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let mut work = shared.work.lock().await;
    match tokio::time::timeout(LONG_POLL, work.recv()).await {
        Ok(Some(request)) => match serde_json::to_string(&request) {
            Ok(json) => isolated(([(header::CONTENT_TYPE, "application/json")], json)),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        // The page asks again.
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn hello(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    take(&shared, serde_json::from_slice::<Hello>(&body).map(Posted::Hello))
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    take(&shared, serde_json::from_slice::<Answer>(&body).map(Posted::Answer))
}

async fn logits(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    shared.logits().extend_from_slice(&body);
    StatusCode::NO_CONTENT
}

fn take(shared: &Shared, posted: serde_json::Result<Posted>) -> StatusCode {
    let posted = posted.unwrap_or_else(|error| {
        Posted::Answer(Answer::Failed(format!("the page posted an invalid message: {error}")))
    });
    match shared.sender.send(posted) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::GONE,
    }
}
