//! Who may ask: whoever comes by the socket of the node's user, or shows the node's token, or is a browser that was
//! let in ([`browser`](super::browser)); a page of some other site in the user's browser may not.
//!
//! A browser sends `Origin` with requests that a page makes, and `Host` as the page addressed them. A
//! foreign page shows by its `Origin`; one that had its own name point here (DNS rebinding) by its
//! `Host`, which then is a name, not an address of this node. A cookie goes along whichever page makes its browser
//! ask: so one alone is enough to look, and never to do anything.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::hmac;

use super::browser::{ENTER, INVITE};
use super::dashboard::STYLE;
use super::problem::{Kind, Problem};
use super::{Context, dashboard};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A program of the user whose node it is: the system says so.
    Owner,
    /// Somebody at this address, be it this machine's own: nobody knows whose program that is.
    At(IpAddr),
}

pub(super) async fn check(
    State(context): State<Arc<Context>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(why) = content_fits(request.headers()) {
        return why.into_response();
    }
    let Caller::At(address) = caller else { return next.run(request).await };
    let headers = request.headers();
    let forbidden = |why: Problem| {
        context.shared.tunnels.http_forbidden.add_one();
        why.into_response()
    };
    if let Err(why) = allowed(headers, context.info.http.port(), context.info.http_tls) {
        return forbidden(why);
    }
    // Whoever is let in by a link shows there what it has; and who is not let in is told so in style.
    if [ENTER, STYLE].contains(&request.uri().path()) || context.token.is_shown_by(headers) {
        return next.run(request).await;
    }
    if context.browsers.is_shown_by(headers, context.info.http.port()) {
        if request.uri().path() == INVITE {
            let why = "a browser lets no other in; `midip2p browser` does";
            return forbidden(Problem::new(Kind::Forbidden, why));
        }
        if !is_its_own_doing(request.method(), headers) {
            let why = "only the node's own page may do that: a request with a cookie needs the node's `Origin`";
            return forbidden(Problem::new(Kind::Forbidden, why));
        }
        return next.run(request).await;
    }
    refuse(&context, address, request.method(), headers)
}

/// The longest content of a request.
pub(super) const CONTENT_MAX: usize = 64 * 1024;

/// Whether what a request says of its content is what any path here could take: JSON, and not much of it. What is not
/// announced is counted by whoever reads it.
fn content_fits(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > CONTENT_MAX) {
        let why = format!("the request's content may have {CONTENT_MAX} bytes; send less");
        return Err(Problem::new(Kind::TooLong, why));
    }
    let has_content = length.unwrap_or(0) > 0 || headers.contains_key(header::TRANSFER_ENCODING);
    let kind = text(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    match kind {
        Some(kind) if has_content && !kind.trim().eq_ignore_ascii_case("application/json") => {
            let why =
                format!("the request's content is {kind:?}; only application/json is read here");
            Err(Problem::new(Kind::NotJson, why))
        }
        _ => Ok(()),
    }
}

/// Says what there is to show.
pub(super) fn refuse(
    context: &Context,
    address: IpAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    context.shared.tunnels.tokens_refused.add_one();
    // A page that people can read, which is always the same: only of programs is there too much at some time.
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if method == Method::GET && accepts.is_some_and(|types| types.contains("text/html")) {
        return dashboard::locked();
    }
    if !context.failures.has_room(address, Instant::now()) {
        let why = "too many requests without what is to be shown; wait a second";
        return Problem::new(Kind::TooManyRefused, why).into_response();
    }
    let why = "over the network a request needs the node's token: it is in `token` in the node's state directory; \
        give it as `Authorization: Bearer TOKEN`, or to midip2p as MIDIP2P_TOKEN. Programs of the node's user \
        need none by its socket (docs/http.md), and a browser is let in by `midip2p browser`";
    Problem::new(Kind::NotLetIn, why)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        .into_response()
}

/// Whether a request with a cookie is the doing of the node's own page: what only looks need not be.
fn is_its_own_doing(method: &Method, headers: &HeaderMap) -> bool {
    let from = headers.get("sec-fetch-site").map(|from| from.as_bytes());
    if from.is_some_and(|from| from != b"same-origin" && from != b"none") {
        return false;
    }
    let looks =
        [Method::GET, Method::HEAD].contains(method) && !headers.contains_key(header::UPGRADE);
    // That it is this node's stands already.
    looks || headers.contains_key(header::ORIGIN)
}

/// What a program must show that comes by the network. It is 256 random bits.
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

/// How many requests without what is to be shown are answered by more than a word: so many at once of one machine.
const FAILURES_AT_ONCE: u64 = 10;

/// And after that one in this time.
const FAILURE_EVERY: Duration = Duration::from_secs(1);

/// Requests that were refused of late, by machine. Who shows what is to be shown is never asked about them: they
/// keep nobody out, of the same machine or another.
pub(crate) struct Failures {
    since: Instant,
    hasher: RandomState,
    /// When a machine has made up for what it failed, in nanoseconds; a few machines share a place.
    until: [AtomicU64; 256],
}

impl Failures {
    pub(crate) fn new(since: Instant) -> Self {
        let until = [const { AtomicU64::new(0) }; 256];
        Self { since, hasher: RandomState::new(), until }
    }

    /// Counts one; whether there was room for it.
    fn has_room(&self, machine: IpAddr, now: Instant) -> bool {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (now, each) = (nanos(now.saturating_duration_since(self.since)), nanos(FAILURE_EVERY));
        let place = self.hasher.hash_one(machine) % 256;
        let Some(until) = usize::try_from(place).ok().and_then(|at| self.until.get(at)) else {
            return false;
        };
        let more = |until: u64| {
            let next = until.max(now) + each;
            (next <= now + FAILURES_AT_ONCE * each).then_some(next)
        };
        until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Whether the headers are those of a request that means this node.
fn allowed(headers: &HeaderMap, port: u16, tls: bool) -> Result<(), Problem> {
    let one = |name: header::HeaderName| {
        let mut values = headers.get_all(&name).iter();
        let bad = |what: &str| {
            Problem::new(
                Kind::BadRequest,
                format!("the request's `{name}` {what}; send one, or none"),
            )
        };
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| bad("is not text")),
            (Some(_), Some(_)) => Err(bad("stands twice")),
        }
    };
    let no_host = || Problem::new(Kind::BadRequest, "the request has no Host; HTTP/1.1 wants one");
    let host = one(header::HOST)?.ok_or_else(no_host)?;
    if !names_this_node(host, port, tls) {
        let why = format!(
            "the request's Host is not an address of this node; it must be an IP address or localhost, with the \
             port {port}"
        );
        return Err(Problem::new(Kind::OtherHost, why));
    }
    let scheme = if tls { "https://" } else { "http://" };
    match one(header::ORIGIN)? {
        None => Ok(()),
        Some(origin) if origin.strip_prefix(scheme) == Some(host) => Ok(()),
        Some(_) => {
            let why = "requests of pages from elsewhere are refused; programs send no `Origin`";
            Err(Problem::new(Kind::Forbidden, why))
        }
    }
}

/// `localhost` or a literal address, with this port.
fn names_this_node(host: &str, port: u16, tls: bool) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => match digits.parse::<u16>() {
            Ok(given) => (name, given),
            Err(_) => return false,
        },
        _ => (host, if tls { 443 } else { 80 }),
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
            assert_eq!(
                allowed(&headers(&[(header::HOST, host)]), 8080, false).is_ok(),
                ok,
                "{host}"
            );
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
            assert_eq!(allowed(&map, 8080, false).is_ok(), ok, "{origin}");
        }
        assert!(allowed(&headers(&[]), 8080, false).is_err());
        assert!(allowed(&headers(&[host.clone(), host]), 8080, false).is_err());
        for (host, origin, ok) in [
            ("localhost", "https://localhost", true),
            ("localhost:443", "https://localhost:443", true),
            ("localhost", "http://localhost", false),
            ("localhost:80", "https://localhost:80", false),
        ] {
            let map = headers(&[(header::HOST, host), (header::ORIGIN, origin)]);
            assert_eq!(allowed(&map, 443, true).is_ok(), ok, "{host} {origin}");
        }
    }

    #[test]
    fn a_cookie_alone_looks_and_does_nothing() {
        let site = |from| (header::HeaderName::from_static("sec-fetch-site"), from);
        let origin = (header::ORIGIN, "http://localhost:8080");
        let upgrade = (header::UPGRADE, "websocket");
        for (method, pairs, ok) in [
            (Method::GET, vec![], true),
            (Method::HEAD, vec![site("none")], true),
            (Method::GET, vec![site("same-origin")], true),
            // A page of another port of this machine: to a browser it is of the same site.
            (Method::GET, vec![site("same-site")], false),
            (Method::GET, vec![site("cross-site")], false),
            (Method::POST, vec![], false),
            (Method::DELETE, vec![site("same-origin")], false),
            (Method::POST, vec![origin.clone()], true),
            (Method::POST, vec![origin.clone(), site("cross-site")], false),
            (Method::GET, vec![upgrade.clone()], false),
            (Method::GET, vec![upgrade, origin], true),
        ] {
            let is_its_own = is_its_own_doing(&method, &headers(&pairs));
            assert_eq!(is_its_own, ok, "{method} {pairs:?}");
        }
    }

    #[test]
    fn who_fails_too_often_waits_and_nobody_else_does() {
        let start = Instant::now();
        let failures = Failures::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let (one, another) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!((0..100).filter(|_| failures.has_room(one, at(5))).count(), 10);
        assert_eq!((0..100).filter(|_| failures.has_room(one, at(2_500))).count(), 2);
        assert_eq!((0..100).filter(|_| failures.has_room(one, at(100_000))).count(), 10);
        // One in 256 shares its place.
        let let_in = (0..100).filter(|_| failures.has_room(another, at(100_000))).count();
        assert!([0, 10].contains(&let_in), "{let_in}");
    }
}
