//! The names by which requests address the server.
//!
//! A web page can have its own name resolve to its visitor's machine (DNS rebinding). For the browser such a page has the
//! server's origin, but the Host header has the page's name: a server without API keys answers only to its own names.

use crate::error::ApiError;
use axum::extract::Request;
use http::{StatusCode, Version, header};
use std::net::{IpAddr, Ipv6Addr};

/// Who the server answers to besides `localhost` and IP addresses, which no page can have resolve elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct AllowedHosts {
    any: bool,
    names: Vec<String>,
}

impl AllowedHosts {
    /// The names in `texts`, of which `*` is any.
    ///
    /// # Errors
    /// The first text that is no host name.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let (any, texts): (Vec<_>, Vec<_>) = texts.iter().partition(|text| *text == "*");
        let name = |text: &&String| match Authority::parse(text) {
            Some(Authority { name, port: None }) => Ok(name),
            _ => text.parse::<IpAddr>().map(|address| address.to_string()).map_err(|_| text.to_string()),
        };
        Ok(AllowedHosts { any: !any.is_empty(), names: texts.iter().map(name).collect::<Result<_, _>>()? })
    }

    /// Lets a request pass that addresses the server by one of its names, or by none, as only programs do.
    ///
    /// # Errors
    /// 403 for other names.
    pub(crate) fn check(&self, host: Option<&Authority>) -> Result<(), ApiError> {
        let Some(Authority { name, .. }) = host else { return Ok(()) };
        if self.any || name == "localhost" || name.parse::<IpAddr>().is_ok() || self.names.contains(name) {
            return Ok(());
        }
        let name = edgellm::text::printable(name, 100);
        let message = format!(
            "this server is not known as {name:?}: start it with --allowed-host and the name, or with API keys"
        );
        Err(ApiError::refused(StatusCode::FORBIDDEN, "host_not_allowed", message))
    }
}

/// A host name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// In lower case, without the brackets of an IPv6 address and the dot at the end of a full name.
    name: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`; anything else is `None`, such as a user before the name.
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
            }
            None => {
                let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                let name = name.strip_suffix('.').unwrap_or(name);
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                if name.is_empty() || !name.bytes().all(is_name) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match port {
            // An empty port is the default.
            "" | ":" => None,
            port => Some(port.strip_prefix(':').filter(|port| !port.starts_with('+'))?.parse().ok()?),
        };
        Some(Authority { name, port })
    }

    /// The same with the port of the scheme, if it has none.
    fn with_port(mut self, scheme: Option<&str>) -> Self {
        self.port = self.port.or(Some(if scheme == Some("https") { 443 } else { 80 }));
        self
    }
}

/// How a request addresses the server. `None` for HTTP/1.0 without a Host header.
///
/// # Errors
/// 400 if the Host header is missing, repeated or invalid, or contradicts the URI, as HTTP demands.
pub(crate) fn addressed(request: &Request) -> Result<Option<Authority>, ApiError> {
    let wrong = |message: &str| Err(ApiError::request(message).code("invalid_host"));
    let mut values = request.headers().get_all(header::HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(_), Some(_)) => return wrong("the request has more than one Host header: send one"),
        (Some(value), None) => match value.to_str().ok().and_then(Authority::parse) {
            None => return wrong("the Host header is no host name or IP address with an optional port"),
            host => host,
        },
        (None, _) if request.version() == Version::HTTP_11 => {
            return wrong("the request has no Host header, which HTTP/1.1 requires");
        }
        (None, _) => None,
    };
    let Some(target) = request.uri().authority() else { return Ok(host) };
    let Some(target) = Authority::parse(target.as_str()) else {
        return wrong("the request's URI has no valid host name");
    };
    let scheme = request.uri().scheme_str();
    match host {
        Some(host) if host.clone().with_port(scheme) != target.clone().with_port(scheme) => {
            wrong("the Host header contradicts the request's URI: send the same host in both")
        }
        _ => Ok(Some(target)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn allowed(names: &[&str]) -> Result<AllowedHosts, String> {
        AllowedHosts::parse(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>())
    }

    /// 200, or the status with which a request is refused.
    fn status(version: Version, uri: &str, hosts: &[&str], names: &[&str]) -> u16 {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(header::HOST, http::HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        let request = request.body(Body::empty()).unwrap();
        let checked = addressed(&request).and_then(|host| allowed(names).unwrap().check(host.as_ref()));
        checked.map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn own_names_and_addresses_are_answered() {
        for own in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "localhost.:80",
            "localhost:",
            "127.0.0.1:8080",
            "127.0.0.1.",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "10.0.0.7",
            "Board.local:80",
            "board.local.",
        ] {
            assert_eq!(status(Version::HTTP_11, "/", &[own], &["board.LOCAL"]), 200, "{own}");
        }
        assert_eq!(status(Version::HTTP_11, "/", &["any.example"], &["*"]), 200);
        assert_eq!(status(Version::HTTP_10, "/", &[], &[]), 200);
    }

    #[test]
    fn foreign_names_are_refused() {
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "xlocalhost",
            "board.local..",
            "2130706433",
            "0x7f.1",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(status(Version::HTTP_11, "/", &[foreign], &["board.local"]), 403, "{foreign}");
            assert_eq!(status(Version::HTTP_10, "/", &[foreign], &["board.local"]), 403, "{foreign}");
        }
        assert_eq!(status(Version::HTTP_10, "http://evil.example/", &[], &[]), 403);
    }

    #[test]
    fn requests_without_one_valid_host_are_bad() {
        for bad in [
            "",
            " ",
            ".",
            "a b",
            "localhost@evil.example",
            "evil@127.0.0.1",
            "localhost:x",
            "localhost:99999",
            "localhost:+80",
            "localhost:80:80",
            "::1",
            "[127.0.0.1]",
            "[::1",
            "[::1]x",
            "[localhost]",
            "localhost/",
            "http://localhost",
            "local%68ost",
            "bücher.example",
            "*",
        ] {
            assert_eq!(status(Version::HTTP_11, "/", &[bad], &["*"]), 400, "{bad}");
        }
        assert_eq!(status(Version::HTTP_11, "/", &[], &["*"]), 400);
        assert_eq!(status(Version::HTTP_11, "/", &["localhost", "localhost"], &["*"]), 400);
    }

    #[test]
    fn host_and_uri_agree() {
        let check = |uri: &str, host: &str| status(Version::HTTP_11, uri, &[host], &["*"]);
        assert_eq!(check("http://localhost:8080/v1", "LOCALHOST:8080"), 200);
        assert_eq!(check("http://localhost/v1", "localhost:80"), 200);
        assert_eq!(check("http://evil.example/v1", "localhost"), 400);
        assert_eq!(check("http://localhost:81/v1", "localhost"), 400);
        assert_eq!(check("http://user@localhost/v1", "localhost"), 400);
    }

    #[test]
    fn allowed_hosts_are_names_alone() {
        for good in ["board", "Board.Local.", "10.0.0.1", "::1", "[::1]", "my_service", "*"] {
            assert!(allowed(&[good]).is_ok(), "{good}");
        }
        for bad in
            ["", "board.local:8080", "http://board.local", "*.example", "bücher.example", "a b", "a/", "a@b"]
        {
            assert_eq!(allowed(&["board", bad]).unwrap_err(), bad);
        }
    }
}
