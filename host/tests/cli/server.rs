//! A small HTTP server that can misbehave in all the ways that networks do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<u64>,
    pub(crate) authorization: Option<String>,
}

/// What is answered.
pub(crate) struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body after which the connection ends.
    cut: Option<usize>,
    /// Silence at that point, before the end.
    silence: Duration,
    /// Silence after each byte.
    slow: Duration,
}

impl Reply {
    pub(crate) fn new(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut: None,
            silence: Duration::ZERO,
            slow: Duration::ZERO,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn slow(mut self, after_each_byte: Duration) -> Self {
        self.slow = after_each_byte;
        self
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// `body`, or what is left of it from the requested byte on, as servers do.
    pub(crate) fn file(request: &Request, body: &[u8]) -> Self {
        match request.range {
            Some(from) if from as usize >= body.len() => Reply::new("416 Range Not Satisfiable", ""),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                Reply::new("206 Partial Content", &body[from as usize..]).header("Content-Range", range)
            }
            None => Reply::new("200 OK", body),
        }
    }
}

/// A server on a port of its own, until the test's process ends.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // A client that has gone away is no failure of the test.
                std::thread::spawn(move || drop(serve(stream, &seen, &*answer)));
            }
        });
        Server { url, requests }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Requests for a path that ends so.
    pub(crate) fn requests_for(&self, ending: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path.ends_with(ending)).collect()
    }
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Reply,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mut request = Request { path, range: None, authorization: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        let value = value.trim();
        match name.to_lowercase().as_str() {
            "range" => {
                request.range =
                    value.strip_prefix("bytes=").and_then(|v| v.trim_end_matches('-').parse().ok())
            }
            "authorization" => request.authorization = Some(value.to_string()),
            _ => {}
        }
    }
    seen.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    write!(
        stream,
        "HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        reply.body.len()
    )?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    let sent = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    if reply.slow.is_zero() {
        stream.write_all(sent)?;
    } else {
        for byte in sent {
            stream.write_all(&[*byte])?;
            std::thread::sleep(reply.slow);
        }
    }
    stream.flush()?;
    std::thread::sleep(reply.silence);
    Ok(())
}
