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
pub(crate) async fn start(server: Server) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(listen(server, listener, async move { ended.await.unwrap_or_default() }));
    (address, end, task)
}

/// The answer to a request, up to the end of the connection.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
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

pub(crate) const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

pub(crate) async fn is_well(address: SocketAddr) {
    let start = Instant::now();
    assert!(exchange(address, HEALTH).await.starts_with("HTTP/1.1 200"));
    assert!(start.elapsed() < within(Duration::from_secs(1)));
}

/// The answer is an error of this status and code, in JSON.
pub(crate) fn is_refused(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("content-type: application/json"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let error: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error"]["code"], code, "{answer}");
}

#[tokio::test]
async fn slow_and_broken_requests_do_not_affect_others() {
    let options = Options { client_timeout: Duration::from_millis(300), ..Options::default() };
    let (address, end, task) = start(server(options).await).await;
    // A body that does not come.
    let half = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{";
    is_refused(&exchange(address, half).await, 408, "body_timeout");
    // Headers that do not come, and nothing at all.
    for nothing in ["GET /health HTTP/1.1\r\nhost: lo", ""] {
        assert_eq!(exchange(address, nothing).await, "");
    }
    // Headers without end.
    let flood: String = (0..500).map(|i| format!("x-{i}: {i}\r\n")).collect();
    let many = format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{flood}\r\n");
    is_refused(&exchange(address, &many).await, 431, "headers_too_large");
    let long = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    is_refused(&exchange(address, &long).await, 431, "headers_too_large");
    is_refused(&exchange(address, "nonsense\r\n\r\n").await, 400, "invalid_http");
    let path = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(70_000));
    is_refused(&exchange(address, &path).await, 414, "path_too_long");
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
    // What the system still had for it is gone, too.
    let rest = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(rest.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
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

#[tokio::test]
async fn idle_connections_make_room() {
    let client_timeout = Duration::from_secs(3600);
    let options = Options { max_connections: 8, client_timeout, ..Options::default() };
    let (address, end, task) = start(server(options).await).await;
    let mut idle = Vec::new();
    for index in 0..60 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Half a request is as idle as none.
        if index % 2 == 0 {
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: lo").await.unwrap();
        }
        idle.push(stream);
        if index % 20 == 0 {
            is_well(address).await;
        }
    }
    is_well(address).await;
    // The first have been closed, long before their time is over; the last are open.
    let mut buffer = [0; 9];
    let closed = tokio::time::timeout(within(Duration::from_secs(5)), idle[0].read(&mut buffer)).await;
    assert_eq!(closed.unwrap().unwrap_or(0), 0);
    let last = idle.last_mut().unwrap();
    last.write_all(HEALTH.as_bytes()).await.unwrap();
    assert_eq!(last.read(&mut [0; 9]).await.unwrap(), 9);
    // The end does not wait for the rest of half a request.
    let start = Instant::now();
    end.send(()).unwrap();
    task.await.unwrap();
    assert!(start.elapsed() < within(Duration::from_secs(5)), "{:?}", start.elapsed());
}

#[tokio::test]
async fn health_has_room_when_all_are_at_work() {
    let client_timeout = Duration::from_secs(3600);
    let options = Options { max_connections: 4, client_timeout, ..Options::default() };
    let server = server(options).await;
    let router = edgellm_server::app(&server);
    let (address, end, task) = start(server).await;
    let body = r#"{"prompt": "a", "stream": true, "logit_bias": {"0": -100}}"#;
    let mut at_work = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(completion(body).as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        at_work.push(stream);
    }
    // One address has three of four places.
    for _ in 0..50 {
        let models = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let answer = exchange(address, models).await;
        is_refused(&answer, 503, "too_many_connections");
        assert!(answer.contains("retry-after: 1\r\n") && answer.contains("connection: close"), "{answer}");
    }
    is_well(address).await;
    // A request for spare room has five seconds to arrive, whatever others have.
    let (start, mut half) = (Instant::now(), TcpStream::connect(address).await.unwrap());
    half.write_all(b"GET /health HTTP/1.1\r\nhost: lo").await.unwrap();
    let ended = tokio::time::timeout(within(Duration::from_secs(15)), half.read(&mut [0; 9])).await;
    assert_eq!(ended.expect("the connection ends").unwrap_or(0), 0);
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    // Nor do connections that say nothing take the spare room.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    is_well(address).await;
    drop((at_work, idle));
    super::support::wait_for(&router, "edgellm_connections", 0.0).await;
    is_well(address).await;
    end.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn bodies_share_their_memory() {
    let client_timeout = Duration::from_secs(2);
    let options = Options { max_body: 16 << 20, client_timeout, ..Options::default() };
    let (address, end, task) = start(server(options).await).await;
    // One client can have two bodies of this size under way, whichever come first.
    let part = "x".repeat((16 << 20) - 100);
    let head = format!("POST /tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 16 << 20);
    let request = format!("{head}{part}");
    let answers =
        tokio::join!(exchange(address, &request), exchange(address, &request), exchange(address, &request));
    let answers = [answers.0, answers.1, answers.2];
    let refused = answers.iter().find(|answer| answer.starts_with("HTTP/1.1 503"));
    is_refused(refused.unwrap(), 503, "body_memory");
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 408")).count(), 2);
    let small = exchange(address, &completion(r#"{"prompt": "a", "max_tokens": 1}"#)).await;
    assert!(small.starts_with("HTTP/1.1 200"), "{small}");
    end.send(()).unwrap();
    task.await.unwrap();
}
