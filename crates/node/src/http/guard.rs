//! Who may ask: a page of some other site in the user's browser may not.
//!
//! A browser sends `Origin` with requests that a page makes, and `Host` as the page addressed them. A
//! foreign page shows by its `Origin`; one that had its own name point here (DNS rebinding) by its
//! `Host`, which then is a name, not an address of this node.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Context;
use super::rest::error;

pub(super) async fn check(
    State(context): State<Arc<Context>>,
    request: Request,
    next: Next,
) -> Response {
    match allowed(request.headers(), context.info.http.port()) {
        Ok(()) => next.run(request).await,
        Err(why) => error(StatusCode::FORBIDDEN, why).into_response(),
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
