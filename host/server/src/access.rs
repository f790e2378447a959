//! Who may use the server, and how often: API keys, allowed origins, rate limits.

use crate::error::ApiError;
use axum::extract::Request;
use edgellm::text::printable;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq as _;

/// The accepted API keys. Without any, no key is needed.
#[derive(Clone, Default)]
pub struct ApiKeys {
    digests: Vec<[u8; 32]>,
    unusable: Option<usize>,
}

impl ApiKeys {
    /// The keys in `text`, one per line; empty lines and lines that begin with `#` are ignored.
    pub fn parse(text: &str) -> Self {
        // Some editors write a byte order mark, which is part of no key.
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let keys =
            || lines.clone().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let fits = |key: &str| key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        ApiKeys {
            digests: keys().map(|(_, key)| digest(key)).collect(),
            unusable: keys().find(|(_, key)| !fits(key)).map(|(index, _)| index + 1),
        }
    }

    /// The line of the first key that no request can have, because HTTP headers cannot hold its characters.
    pub fn unusable(&self) -> Option<usize> {
        self.unusable
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The index of `key`. Takes the same time for every key, right or wrong.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        let digest = digest(key);
        let mut found = None;
        for (index, known) in self.digests.iter().enumerate() {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(index);
            }
        }
        found
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKeys({})", self.digests.len())
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The address of the peer whose connection carries the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whose requests share a rate limit, and take turns with those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// The index of an API key.
    Key(usize),
    Address(IpAddr),
    Unknown,
}

/// The rate limit of each client.
#[derive(Debug)]
pub(crate) struct Rates {
    limiter: DefaultKeyedRateLimiter<Client>,
    per_minute: NonZeroU32,
}

impl Rates {
    /// Allows each client `per_minute` sequences, all of them at once if it likes.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        Rates { limiter: RateLimiter::keyed(Quota::per_minute(per_minute)), per_minute }
    }

    /// Counts one request of `client`, as one sequence.
    ///
    /// # Errors
    /// 429 if that is one too many.
    pub(crate) fn check(&self, client: &Client) -> Result<(), ApiError> {
        self.limiter.check_key(client).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            ApiError::too_many(wait.as_secs() + 1)
        })
    }

    /// Counts the sequences of a request of `client` that [`Rates::check`] has counted as one.
    ///
    /// # Errors
    /// 429 if they are too many now, and 400 if they always will be.
    pub(crate) fn check_sequences(&self, client: &Client, sequences: usize) -> Result<(), ApiError> {
        let per_minute = self.per_minute;
        let too_large = || {
            let message = format!(
                "the request has {sequences} sequences (choices times prompts, or inputs), but the server allows {per_minute} per minute: send fewer at a time"
            );
            ApiError::request(message).code("request_too_large")
        };
        let all =
            u32::try_from(sequences).ok().filter(|&all| all <= per_minute.get()).ok_or_else(too_large)?;
        let Some(more) = NonZeroU32::new(all.saturating_sub(1)) else { return Ok(()) };
        let checked = self.limiter.check_key_n(client, more).map_err(|_| too_large())?;
        checked.map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            // The next attempt counts as one again.
            ApiError::too_many(wait.as_secs() + 1 + 60 / u64::from(per_minute.get()))
        })
    }

    /// Forgets clients that are back at their full allowance.
    pub(crate) fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
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
    let origin = printable(&origin, 100);
    let message = format!("pages of {origin:?} may not use this server: allow them with --cors-origin");
    Err(ApiError::refused(StatusCode::FORBIDDEN, "origin_not_allowed", message))
}

/// The client's network: the peer's, or that of the address that a trusted proxy forwards.
pub(crate) fn address(request: &Request, trust_proxy: bool) -> Option<IpAddr> {
    let forwarded = || {
        // Proxies append to the list; whatever comes before was sent by the client itself.
        let last = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        forwarded_address(last.rsplit(',').next()?.trim())
    };
    let peer = || request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let address = if trust_proxy { forwarded().or_else(peer) } else { peer() };
    address.map(network)
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

/// Who shares limits with `address`: an IPv6 subnet of 64 bits counts as one, because its hosts choose the other 64 bits
/// as they like, and an IPv4 address in IPv6 as the IPv4 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
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
        assert_eq!(ApiKeys::parse("\u{feff}alpha\r\n").find("alpha"), Some(0));
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
    fn forwarded_addresses_count_only_from_a_trusted_proxy() {
        let mut request = Request::new(axum::body::Body::empty());
        request.headers_mut().insert("x-forwarded-for", "1.1.1.1, 2.2.2.2".parse().unwrap());
        request.extensions_mut().insert(Peer(SocketAddr::from(([9, 9, 9, 9], 1))));
        assert_eq!(address(&request, true), Some([2, 2, 2, 2].into()));
        assert_eq!(address(&request, false), Some([9, 9, 9, 9].into()));
    }

    #[test]
    fn proxies_write_addresses_in_many_ways() {
        for (text, address) in [
            ("2.2.2.2", Some("2.2.2.2")),
            ("2.2.2.2:4711", Some("2.2.2.2")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("unknown", None),
            ("", None),
            ("1.1.1.1 2.2.2.2", None),
            ("\"2.2.2.2\"", None),
            ("999.1.1.1", None),
        ] {
            assert_eq!(forwarded_address(text), address.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn hosts_of_a_subnet_count_as_one() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:1.2.3.4"), "1.2.3.4");
        assert_ne!(network("::ffff:1.2.3.4"), network("::ffff:1.2.3.5"));
        assert_ne!(network("1.2.3.4"), network("1.2.3.5"));
    }
}
