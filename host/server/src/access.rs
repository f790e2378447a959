//! Who may use the server, and how often: API keys, allowed hosts and origins, rate limits.

use crate::error::ApiError;
use axum::extract::Request;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq as _;

/// The accepted API keys. Without any, no key is needed.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<[u8; 32]>);

impl ApiKeys {
    /// The keys in `text`, one per line; empty lines and lines that begin with `#` are ignored.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        ApiKeys(lines.map(digest).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The index of `key`. Takes the same time for every key, right or wrong.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        let digest = digest(key);
        let mut found = None;
        for (index, known) in self.0.iter().enumerate() {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(index);
            }
        }
        found
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The address of the peer whose connection carries the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whose requests share a rate limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// The index of an API key.
    Key(usize),
    Address(IpAddr),
    Unknown,
}

/// The rate limit of each client.
#[derive(Debug)]
pub(crate) struct Rates(DefaultKeyedRateLimiter<Client>);

impl Rates {
    /// Allows each client `per_minute` requests, all of them at once if it likes.
    pub(crate) fn new(per_minute: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        Rates(RateLimiter::keyed(quota))
    }

    /// Counts one request of `client`.
    ///
    /// # Errors
    /// 429 if that is one too many.
    pub(crate) fn check(&self, client: &Client) -> Result<(), ApiError> {
        self.0.check_key(client).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            ApiError::too_many(wait.as_secs() + 1)
        })
    }

    /// Forgets clients that are back at their full allowance.
    pub(crate) fn forget(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// The token of the `Authorization` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Refuses web pages of other origins than the server's own and the allowed ones: a page must not use a server on its
/// visitor's machine.
pub(crate) fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_string);
    let origin = text(origin).unwrap_or_default();
    let own = origin.split_once("://").map(|(_, host)| host);
    let host = headers.get(header::HOST).and_then(text);
    if (host.is_some() && own == host.as_deref()) || allowed.iter().any(|a| a == "*" || *a == origin) {
        return Ok(());
    }
    let message = format!("pages of {origin:?} may not use this server: allow them with --cors-origin");
    Err(ApiError::refused(StatusCode::FORBIDDEN, "origin_not_allowed", message))
}

/// Refuses requests that address the server by a name it does not know. A web page can have its own name resolve to the
/// visitor's machine (DNS rebinding): for the browser it has the server's origin then, but the Host header has that name.
pub(crate) fn check_host(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let authority: Option<http::uri::Authority> = host.parse().ok();
    let name = authority.as_ref().map_or("", |authority| authority.host());
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if literal || is("localhost") || allowed.iter().any(|allowed| allowed == "*" || is(allowed)) {
        return Ok(());
    }
    let message = format!(
        "this server is not known as {host:?}: start it with --allowed-host and the name, or with API keys"
    );
    Err(ApiError::refused(StatusCode::FORBIDDEN, "host_not_allowed", message))
}

/// The client's address: the peer's, or the one that a trusted proxy forwards.
pub(crate) fn address(request: &Request, trust_proxy: bool) -> Option<IpAddr> {
    let forwarded = || {
        // Proxies append to the list; whatever comes before was sent by the client itself.
        let last = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse().ok()
    };
    let peer = || request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    if trust_proxy { forwarded().or_else(peer) } else { peer() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_lines() {
        let keys = ApiKeys::parse("# two keys\n\n alpha \nbeta\n");
        assert_eq!((keys.find("alpha"), keys.find("beta")), (Some(0), Some(1)));
        assert_eq!((keys.find("alph"), keys.find(""), keys.find("# two keys")), (None, None, None));
        assert!(ApiKeys::parse("#none\n").is_empty());
    }

    #[test]
    fn origins() {
        let check = |origin: &str, allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            check_origin(&headers, &allowed.iter().map(|a| a.to_string()).collect::<Vec<_>>()).is_ok()
        };
        assert!(check("http://127.0.0.1:8080", &[]));
        assert!(!check("http://evil.example", &[]));
        assert!(!check("null", &[]));
        assert!(check("https://chat.example", &["https://chat.example"]));
        assert!(check("null", &["*"]));
        assert!(check_origin(&HeaderMap::new(), &[]).is_ok());
    }

    #[test]
    fn hosts() {
        let check = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, http::HeaderValue::from_str(host).unwrap());
            check_host(&headers, &["board.local".to_string()]).is_ok()
        };
        for own in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7", "Board.local:80"]
        {
            assert!(check(own), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "a b",
        ] {
            assert!(!check(foreign), "{foreign}");
        }
        assert!(check_host(&HeaderMap::new(), &[]).is_ok());
    }

    #[test]
    fn forwarded_addresses_count_only_from_a_trusted_proxy() {
        let mut request = Request::new(axum::body::Body::empty());
        request.headers_mut().insert("x-forwarded-for", "1.1.1.1, 2.2.2.2".parse().unwrap());
        request.extensions_mut().insert(Peer(SocketAddr::from(([9, 9, 9, 9], 1))));
        assert_eq!(address(&request, true), Some([2, 2, 2, 2].into()));
        assert_eq!(address(&request, false), Some([9, 9, 9, 9].into()));
    }
}
