//! Who may ask: whoever is on this machine, or has the node's token; a page of some other site in the user's
//! browser may not.
//!
//! A browser sends `Origin` with requests that a page makes, and `Host` as the page addressed them. A
//! foreign page shows by its `Origin`; one that had its own name point here (DNS rebinding) by its
//! `Host`, which then is a name, not an address of this node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use ring::hmac;

use super::Context;
use super::rest::error;

/// Whether a connection is from this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromHere(bool);

impl FromHere {
    /// Both ends have one address, or the other end's is one that never leaves a machine.
    pub(super) fn of(other: SocketAddr, own: Option<SocketAddr>) -> Self {
        let ip = |address: SocketAddr| address.ip().to_canonical();
        Self(ip(other).is_loopback() || own.is_some_and(|own| ip(own) == ip(other)))
    }
}

pub(super) async fn check(
    State(context): State<Arc<Context>>,
    Extension(FromHere(is_here)): Extension<FromHere>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(why) = allowed(request.headers(), context.info.http.port()) {
        return error(StatusCode::FORBIDDEN, why).into_response();
    }
    if is_here || context.token.is_shown_by(request.headers()) {
        return next.run(request).await;
    }
    context.shared.tunnels.tokens_refused.add_one();
    let why = "from another machine a request needs the node's token: it is in `token` in the node's state \
        directory; give it as `Authorization: Bearer TOKEN`, or to midip2p as MIDIP2P_TOKEN";
    let refused = error(StatusCode::UNAUTHORIZED, why);
    ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response()
}

/// What a program on another machine must show. It is 256 random bits, so that guesses need not be counted.
#[derive(Clone)]
pub(crate) struct Token(hmac::Key);

impl Token {
    /// Not the token itself is kept, but what its likeness is seen by without a difference in time.
    pub(crate) fn new(token: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()))
    }

    fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = shown.and_then(|shown| shown.strip_prefix("Bearer ")) else {
            return false;
        };
        let shown = hmac::Key::new(hmac::HMAC_SHA256, token.trim().as_bytes());
        hmac::verify(&self.0, b"", hmac::sign(&shown, b"").as_ref()).is_ok()
    }
}

/// Whether the headers are those of a request that means this node.
fn allowed(headers: &HeaderMap, port: u16) -> Result<(), &'static str> {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| "a header is not text"),
            (Some(_), Some(_)) => Err("a header stands twice"),
        }
    };
    let host = one(header::HOST)?.ok_or("the request has no Host")?;
    if !names_this_node(host, port) {
        return Err("the request's Host is not an address of this node");
    }
    match one(header::ORIGIN)? {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://") == Some(host) => Ok(()),
        Some(_) => Err("requests of pages from elsewhere are refused"),
    }
}

/// `localhost` or a literal address, with this port.
fn names_this_node(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => match digits.parse::<u16>() {
            Ok(given) => (name, given),
            Err(_) => return false,
        },
        _ => (host, 80),
    };
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    given == port && (name.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.clone(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn from_here_is_what_has_the_same_address() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (other, own, here) in [
            ("127.0.0.1:1", "127.0.0.1:8080", true),
            ("[::1]:1", "[::1]:8080", true),
            ("192.168.1.5:1", "192.168.1.5:8080", true),
            ("[::ffff:192.168.1.5]:1", "192.168.1.5:8080", true),
            ("192.168.1.6:1", "192.168.1.5:8080", false),
            ("[2001:db8::1]:1", "[2001:db8::2]:8080", false),
        ] {
            assert_eq!(FromHere::of(at(other), Some(at(own))).0, here, "{other} {own}");
        }
        assert!(!FromHere::of(at("192.168.1.6:1"), None).0);
    }

    #[test]
    fn only_the_whole_token_is_one() {
        let token = Token::new("00ff");
        for (shown, ok) in [
            ("Bearer 00ff", true),
            ("Bearer  00ff ", true),
            ("Bearer 00fe", false),
            ("Bearer 00f", false),
            ("Bearer 00ff0", false),
            ("Bearer ", false),
            ("bearer 00ff", false),
            ("Basic 00ff", false),
            ("00ff", false),
        ] {
            let map = headers(&[(header::AUTHORIZATION, shown)]);
            assert_eq!(token.is_shown_by(&map), ok, "{shown}");
        }
        assert!(!token.is_shown_by(&headers(&[])));
    }

    #[test]
    fn only_this_node_and_its_own_pages_pass() {
        for (host, ok) in [
            ("127.0.0.1:8080", true),
            ("localhost:8080", true),
            ("LOCALHOST:8080", true),
            ("[::1]:8080", true),
            ("192.168.1.5:8080", true),
            ("127.0.0.1:80", false),
            ("127.0.0.1", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example:8080", false),
            ("localhost:8080:8080", false),
            ("", false),
        ] {
            assert_eq!(allowed(&headers(&[(header::HOST, host)]), 8080).is_ok(), ok, "{host}");
        }
        let host = (header::HOST, "localhost:8080");
        for (origin, ok) in [
            ("http://localhost:8080", true),
            ("http://localhost", false),
            ("https://localhost:8080", false),
            ("http://evil.example", false),
            ("null", false),
        ] {
            let map = headers(&[host.clone(), (header::ORIGIN, origin)]);
            assert_eq!(allowed(&map, 8080).is_ok(), ok, "{origin}");
        }
        assert!(allowed(&headers(&[]), 8080).is_err());
        assert!(allowed(&headers(&[host.clone(), host]), 8080).is_err());
    }
}
