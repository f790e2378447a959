//! The app on a socket: slow clients, floods of headers, an orderly end.

use super::support::server;
use edgellm::testing::within;
use edgellm_server::{Options, Server, bind, listen};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on a free port; the sender ends it.
async fn start(server: Server) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(listen(server, listener, async move { ended.await.unwrap_or_default() }));
    (address, end, task)
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn completion(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn is_well(address: SocketAddr) {
    let start = Instant::now();
    assert!(exchange(address, HEALTH).await.starts_with("HTTP/1.1 200"));
    assert!(start.elapsed() < within(Duration::from_secs(1)));
}

#[tokio::test]
async fn slow_and_broken_requests_do_not_affect_others() {
    let options = Options { client_timeout: Duration::from_millis(300), ..Options::default() };
    let (address, end, task) = start(server(options).await).await;
    // A body that does not come.
    let half = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{";
    assert!(exchange(address, half).await.starts_with("HTTP/1.1 408"));
    // Headers without end.
    let flood: String = (0..500).map(|i| format!("x-{i}: {i}\r\n")).collect();
    let many = format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{flood}\r\n");
    assert!(exchange(address, &many).await.starts_with("HTTP/1.1 431"));
    let long = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    assert!(exchange(address, &long).await.starts_with("HTTP/1.1 431"));
    assert!(exchange(address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    is_well(address).await;
    end.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stalls_loses_its_answer() {
    let options = Options { client_timeout: Duration::from_millis(300), context: 512, ..Options::default() };
    let server = server(options).await;
    let router = edgellm_server::app(&server);
    let (address, end, task) = start(server).await;
    // More than all buffers hold, while the client does not read.
    let body = r#"{"prompt": "a", "n": 128, "stream": true, "logprobs": 20, "max_tokens": 400, "logit_bias": {"0": -100}}"#;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(completion(body).as_bytes()).await.unwrap();
    super::support::wait_for(&router, "edgellm_connections", 1.0).await;
    let start = Instant::now();
    super::support::wait_for(&router, "edgellm_connections", 0.0).await;
    assert!(start.elapsed() < within(Duration::from_secs(30)));
    super::support::wait_for(&router, "edgellm_active_sequences", 0.0).await;
    is_well(address).await;
    end.send(()).unwrap();
    task.await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn the_end_waits_for_answers_under_way() {
    let (address, end, task) = start(server(Options::default()).await).await;
    let body = r#"{"prompt": "a", "max_tokens": 300, "stream": true, "logit_bias": {"0": -100}}"#;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(completion(body).as_bytes()).await.unwrap();
    let mut buffer = [0; 64];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    end.send(()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("data: [DONE]"), "{rest}");
    task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the socket is closed");
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let options = Options { drain_timeout: Duration::from_millis(200), ..Options::default() };
    let (address, end, task) = start(server(options).await).await;
    let body = r#"{"prompt": "a", "n": 128, "stream": true, "logprobs": 20, "logit_bias": {"0": -100}}"#;
    let reader = tokio::spawn(async move { exchange(address, &completion(body)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    end.send(()).unwrap();
    task.await.unwrap();
    assert!(start.elapsed() < within(Duration::from_secs(5)), "{:?}", start.elapsed());
    assert!(reader.await.unwrap().starts_with("HTTP/1.1 200"));
}
