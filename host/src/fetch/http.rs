//! Downloading files over HTTP: resumed if the server supports it, retried if the network fails, and verified by
//! checksum.

use super::kept::Expected;
use crate::checksum::{Hasher, hash};
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Consecutive attempts without a new byte until a download fails.
const ATTEMPTS: u32 = 5;
/// Wait before the second attempt; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait, whatever a server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Size limit of an API response.
const API_LIMIT: usize = 8 << 20;

/// Longest time for an API response, as a multiple of the patience with a silent server.
const API_PATIENCE: u32 = 4;

/// A file on a server.
pub(super) struct RemoteFile {
    pub(super) url: String,
    pub(super) expected: Expected,
}

/// A small text, and the address of the page behind it, if the server names one.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) next: Option<String>,
}

/// Turns a status that no retry can change into an error for the user.
pub(super) type Explain<'a> = dyn Fn(StatusCode, &HeaderMap) -> Option<Error> + 'a;

/// An HTTP client with timeouts and retries.
pub(super) struct Client {
    agent: Agent,
    authorization: Option<String>,
    accept: Option<&'static str>,
    patience: Duration,
}

/// How an attempt failed.
enum Failure {
    /// Retry, after the time that the server asked for, if any.
    Again { problem: String, wait: Option<Duration> },
    /// A retry would not help.
    Final(Error),
}

impl Failure {
    fn again(problem: impl ToString) -> Self {
        Failure::Again { problem: problem.to_string(), wait: None }
    }
}

impl Client {
    /// A client that sends `token` to the requested host only, never after a redirect to another one, and gives up on a
    /// server that is silent for `patience`. With `https_only`, no redirect leads to a connection that is not encrypted.
    pub(super) fn new(token: Option<&str>, patience: Duration, https_only: bool) -> Self {
        let config = Agent::config_builder()
            .https_only(https_only)
            .http_status_as_error(false)
            .user_agent(concat!("edgellm/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience.saturating_mul(2)))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .tls_config(TlsConfig::builder().root_certs(root_certificates()).build())
            .build();
        let authorization = token.map(|token| format!("Bearer {token}"));
        Client { agent: config.new_agent(), authorization, accept: None, patience }
    }

    /// The same, which asks servers that have several for this kind of content.
    pub(super) fn accepting(self, kind: &'static str) -> Self {
        Client { accept: Some(kind), ..self }
    }

    /// Downloads a small text.
    ///
    /// # Errors
    /// If the server refuses, or the network fails repeatedly.
    pub(super) fn text(&self, url: &str, explain: &Explain<'_>) -> Result<Page> {
        self.patiently(url, || {
            let response = self.get(url, 0, explain)?;
            if response.status() != StatusCode::OK {
                return Err(unexpected(url, response.status()));
            }
            let next = next_page(response.headers());
            let end = Instant::now() + self.patience.saturating_mul(API_PATIENCE);
            let (mut body, mut piece) = (Vec::new(), vec![0; 1 << 16]);
            let mut reader = response.into_body().into_reader();
            loop {
                match reader.read(&mut piece).map_err(Failure::again)? {
                    0 => break,
                    read => body.extend_from_slice(&piece[..read]),
                }
                let problem = if body.len() > API_LIMIT {
                    format!("the response has more than {API_LIMIT} bytes")
                } else if Instant::now() > end {
                    "the response does not end".to_string()
                } else {
                    continue;
                };
                return Err(Failure::Final(Error::Server { url: url.to_string(), problem }));
            }
            Ok((Page { text: String::from_utf8_lossy(&body).into_owned(), next }, true))
        })
    }

    /// Downloads `file` to `target` by way of `part`, which survives failures. `progress` is called with the number of
    /// bytes so far.
    ///
    /// # Errors
    /// If the server refuses, the network fails repeatedly, the disk is full, or the file is damaged, in which case it
    /// is removed.
    pub(super) fn download(
        &self,
        file: &RemoteFile,
        part: &Path,
        target: &Path,
        explain: &Explain<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut download = Download::open(file, part)?;
        let mut best = download.have;
        self.patiently(&file.url, || {
            let outcome = download.step(self, explain, progress);
            let gained = download.have > best;
            best = best.max(download.have);
            match outcome {
                Ok(()) => Ok(((), true)),
                // An attempt that made progress does not count as failed.
                Err(Failure::Again { .. }) if gained => Ok(((), false)),
                Err(failure) => Err(failure),
            }
        })?;
        download.complete(target)
    }

    /// Calls `attempt` until it is done (`true`), fails for good, or makes no progress too often.
    fn patiently<T>(
        &self,
        url: &str,
        mut attempt: impl FnMut() -> std::result::Result<(T, bool), Failure>,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            let wait = match attempt() {
                Ok((value, true)) => return Ok(value),
                Ok((_, false)) => {
                    failures = 0;
                    FIRST_WAIT
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again { problem, wait }) => {
                    failures += 1;
                    if failures == ATTEMPTS {
                        return Err(Error::Connection { url: url.to_string(), problem, attempts: ATTEMPTS });
                    }
                    wait.unwrap_or(FIRST_WAIT * 2_u32.pow(failures - 1)).min(LONGEST_WAIT)
                }
            };
            std::thread::sleep(wait);
        }
    }

    /// Requests `url` from byte `from` on. Statuses that a retry may change become [`Failure::Again`].
    fn get(
        &self,
        url: &str,
        from: u64,
        explain: &Explain<'_>,
    ) -> std::result::Result<Response<ureq::Body>, Failure> {
        let mut request = self.agent.get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(kind) = self.accept {
            request = request.header(header::ACCEPT, kind);
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_)
            | ureq::Error::TooManyRedirects
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::Http(_) => {
                Failure::Final(Error::Server { url: url.to_string(), problem: error.to_string() })
            }
            error => Failure::again(error),
        })?;
        let status = response.status();
        if let Some(error) = explain(status, response.headers()) {
            return Err(Failure::Final(error));
        }
        if status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        {
            let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let wait = seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            return Err(Failure::Again { problem: format!("the server answered {status}"), wait });
        }
        Ok(response)
    }
}

/// The certificates to trust: those of the file that `SSL_CERT_FILE` names, as for OpenSSL and curl, else Mozilla's, which are
/// built in.
fn root_certificates() -> RootCerts {
    let file = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let Some(pem) = file.and_then(|path| fs::read(path).ok()) else { return RootCerts::WebPki };
    let found = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { RootCerts::WebPki } else { RootCerts::from(found) }
}

fn unexpected(url: &str, status: StatusCode) -> Failure {
    Failure::Final(Error::Server { url: url.to_string(), problem: format!("the server answered {status}") })
}

/// A download in progress.
struct Download<'a> {
    remote: &'a RemoteFile,
    part: &'a Path,
    file: File,
    hasher: Hasher,
    have: u64,
}

impl<'a> Download<'a> {
    /// Resumes what an earlier run left.
    fn open(remote: &'a RemoteFile, part: &'a Path) -> Result<Self> {
        let mut options = File::options();
        let file = edgellm_files::open_with(part, options.create(true).read(true).append(true), "write")?;
        let mut hasher = Hasher::like(&remote.expected.checksum, remote.expected.length);
        let have = hash(&file, &mut hasher).map_err(Error::file("read", part))?;
        let mut download = Download { remote, part, file, hasher, have };
        if have > remote.expected.length {
            download.restart()?;
        }
        Ok(download)
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::file("write", self.part))?;
        self.hasher = Hasher::like(&self.remote.expected.checksum, self.remote.expected.length);
        self.have = 0;
        Ok(())
    }

    /// Makes one request for what is missing.
    fn step(
        &mut self,
        client: &Client,
        explain: &Explain<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> std::result::Result<(), Failure> {
        if self.have == self.remote.expected.length {
            return Ok(());
        }
        let response = client.get(&self.remote.url, self.have, explain)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(response.headers()) == Some(self.have) => {}
            // The server ignored the range.
            StatusCode::OK => self.restart().map_err(Failure::Final)?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                self.restart().map_err(Failure::Final)?;
                return Err(Failure::again("the server returned another part of the file"));
            }
            status => return Err(unexpected(&self.remote.url, status)),
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = body.read(&mut buffer).map_err(Failure::again)?;
            if read == 0 {
                break;
            }
            self.file
                .write_all(&buffer[..read])
                .map_err(|error| Failure::Final(Error::file("write", self.part)(error)))?;
            self.hasher.update(&buffer[..read]);
            self.have += read as u64;
            progress(self.have);
            if self.have > self.remote.expected.length {
                return Ok(());
            }
        }
        if self.have < self.remote.expected.length {
            let (have, length) = (self.have, self.remote.expected.length);
            return Err(Failure::again(format!("the connection ended after {have} of {length} bytes")));
        }
        Ok(())
    }

    /// Verifies the file and moves it to `target`.
    fn complete(self, target: &Path) -> Result<()> {
        let Download { remote, part, file, hasher, have } = self;
        let Expected { name, length, checksum } = &remote.expected;
        let actual = hasher.finish();
        if have != *length || actual != *checksum {
            drop(file);
            fs::remove_file(part).map_err(Error::file("remove", part))?;
            let what = name.clone();
            return Err(if have == *length {
                Error::WrongChecksum { what, expected: checksum.clone(), actual }
            } else {
                Error::WrongLength { what, expected: *length, actual: have }
            });
        }
        file.sync_all().map_err(Error::file("write", part))?;
        fs::rename(part, target).map_err(Error::file("rename", part))
    }
}

/// The address in `Link: <https://...>; rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    Some(next.trim().strip_prefix('<')?.split_once('>')?.0.to_string())
}

/// The offset of the first byte in `Content-Range: bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
