//! Browsers: one is let in by a link that works once, and knows itself from then on by a cookie.
//!
//! ```text
//! midip2p browser ─▸ POST /browser ─▸ a link with a ticket ─▸ GET /enter?ticket=… ─▸ a cookie ─▸ /
//! ```
//!
//! The ticket is in the link, so it may stand in a history or a log: it is worth something for ten minutes, and
//! once. The cookie is an end and a random number under a MAC. In the clear its key is of this start of the node: while
//! the node is down somebody else on the machine may take its port, and is shown the cookie by every page that is still
//! open. With TLS only who has the node's certificate is shown it, so there the key comes from the node's token: a
//! node that was started again knows the browser.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::Extension;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use ring::hmac;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::guard::{Caller, refuse};
use super::problem::{Kind, Problem};
use super::{Context, dashboard};
use crate::os::interfaces;
use crate::os::state::{entropy, hex};

/// Where a link with a ticket leads.
pub(super) const ENTER: &str = "/enter";

/// Where such a link is asked for.
pub(super) const INVITE: &str = "/browser";

/// How long a link is good for.
pub(crate) const TICKET_LASTS: Duration = Duration::from_secs(600);

/// Links that nobody has followed yet; of one more the oldest is worth nothing any more.
const TICKETS: usize = 16;

/// How long a browser is known at most.
const COOKIE_LASTS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Which browsers are let in.
pub(crate) struct Browsers {
    key: hmac::Key,
    /// What tells a ticket that was given, and until when.
    tickets: ArcSwap<Vec<(hmac::Tag, Instant)>>,
}

impl Browsers {
    /// # Errors
    /// When the system has no randomness to give.
    pub(crate) fn new(token: &str, tls: bool) -> io::Result<Self> {
        let of_start = if tls { [0; 32] } else { entropy::<32>()? };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[token.as_bytes(), &of_start].concat());
        Ok(Self { key, tickets: ArcSwap::default() })
    }

    /// A new ticket; `None` when the system has no randomness to give.
    pub(crate) fn ticket(&self, now: Instant) -> Option<String> {
        let ticket = hex(&entropy::<16>().ok()?);
        let known = self.ticket_tag(&ticket);
        self.tickets.rcu(|tickets| {
            let worth = tickets.iter().filter(|(_, until)| *until > now).copied();
            let mut left: Vec<_> = worth.collect();
            let too_many = (left.len() + 1).saturating_sub(TICKETS);
            left.drain(..too_many);
            left.push((known, now + TICKET_LASTS));
            left
        });
        Some(ticket)
    }

    /// Whether this is a ticket; from now on it is none.
    fn redeem(&self, ticket: &str, now: Instant) -> bool {
        let shown = self.ticket_tag(ticket);
        // Tags are compared, not tickets: whoever measures how long that takes learns of a tag that it cannot make.
        let is_it = |(tag, _): &(hmac::Tag, Instant)| tag.as_ref() == shown.as_ref();
        let before = self.tickets.rcu(|tickets| {
            tickets.iter().filter(|ticket| !is_it(ticket)).copied().collect::<Vec<_>>()
        });
        // Of several that come at once one has found it there.
        before.iter().any(|ticket| is_it(ticket) && ticket.1 > now)
    }

    fn ticket_tag(&self, ticket: &str) -> hmac::Tag {
        hmac::sign(&self.key, format!("midip2p ticket {ticket}").as_bytes())
    }

    /// What a browser shows from now on; `None` when the system has no randomness to give.
    fn pass(&self, now: SystemTime) -> Option<String> {
        let end = now.duration_since(UNIX_EPOCH).ok()? + COOKIE_LASTS;
        let what = format!("{}.{}", end.as_secs(), hex(&entropy::<16>().ok()?));
        let tag = hmac::sign(&self.key, format!("midip2p browser {what}").as_bytes());
        Some(format!("{what}.{}", hex(tag.as_ref())))
    }

    fn is_pass(&self, shown: &str, now: SystemTime) -> bool {
        let Some((what, tag)) = shown.rsplit_once('.') else { return false };
        let (end, tag) = (what.split('.').next().map(str::parse::<u64>), unhex(tag));
        let (Some(Ok(end)), Some(tag)) = (end, tag) else { return false };
        let is_ours = hmac::verify(&self.key, format!("midip2p browser {what}").as_bytes(), &tag);
        is_ours.is_ok() && now.duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_secs() < end)
    }

    /// Whether a request has the cookie.
    pub(super) fn is_shown_by(&self, headers: &HeaderMap, port: u16) -> bool {
        let cookies =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let name = cookie_name(port);
        let mut pairs =
            cookies.flat_map(|all| all.split(';')).filter_map(|one| one.split_once('='));
        let now = SystemTime::now();
        pairs.any(|(key, value)| key.trim() == name && self.is_pass(value.trim(), now))
    }
}

/// To a browser all ports of a machine are one: nodes there have a cookie each.
fn cookie_name(port: u16) -> String {
    format!("midip2p-{port}")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect(),
    )
}

/// Links by which a browser may come, of which one is to be followed: first that for this machine, unless they are
/// `for_others`, to whom it would lead to a machine of theirs.
pub(crate) fn links(context: &Context, ticket: &str, for_others: bool) -> Vec<String> {
    let info = &context.info;
    let scheme = if info.http_tls { "https" } else { "http" };
    let mut addresses = vec![info.http.ip()];
    if context.is_everywhere {
        addresses.extend(interfaces::shareable());
        addresses.retain(|ip| !(for_others && ip.is_loopback()));
    }
    let at = |ip| SocketAddr::new(ip, info.http.port());
    addresses
        .into_iter()
        .map(|ip| format!("{scheme}://{}{ENTER}?ticket={ticket}", at(ip)))
        .collect()
}

/// A link for a browser, once for each address at which it may be followed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Invitation {
    /// Of these one is to be followed, once.
    links: Vec<String>,
    /// How long it is good for.
    seconds: u64,
}

/// A link for a browser.
#[utoipa::path(post, path = "/browser", tag = "browser", responses(
    (status = 200, description = "The link.", body = Invitation),
    (status = 503, description = "The system has no random numbers."),
))]
pub(super) async fn invite(
    State(context): State<Arc<Context>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Invitation>, Problem> {
    let is_elsewhere = matches!(caller, Caller::At(address) if !address.is_loopback());
    let ticket = context.browsers.ticket(Instant::now()).ok_or_else(|| {
        let why = "the system has no random numbers to give; try again";
        Problem::new(Kind::NoRandomness, why)
    })?;
    let links = links(&context, &ticket, is_elsewhere);
    Ok(Json(Invitation { links, seconds: TICKET_LASTS.as_secs() }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Entering {
    /// What a link has.
    #[param(required = false)]
    ticket: Option<String>,
}

/// A ticket becomes a cookie.
///
/// What comes back is a page that goes on to the next: so that page is asked for by one of this node's own, and has
/// the cookie, wherever the link was.
#[utoipa::path(get, path = "/enter", tag = "browser", security(()), params(Entering), responses(
    (status = 200, description = "A page that goes on to `/`, with the cookie.", body = String, content_type = "text/html"),
))]
pub(super) async fn enter(
    State(context): State<Arc<Context>>,
    Extension(caller): Extension<Caller>,
    method: Method,
    headers: HeaderMap,
    Query(entering): Query<Entering>,
) -> Response {
    if method != Method::GET {
        let refused = Problem::new(Kind::MethodNotAllowed, "a link is followed by GET");
        return refused.header(header::ALLOW, HeaderValue::from_static("GET")).into_response();
    }
    let is_let_in = entering.ticket.is_some_and(|t| context.browsers.redeem(&t, Instant::now()));
    let port = context.info.http.port();
    if !is_let_in {
        // Whoever follows the link twice is in already.
        if context.browsers.is_shown_by(&headers, port) {
            return dashboard::entered();
        }
        return match caller {
            Caller::At(address) => refuse(&context, address, &method, &headers),
            Caller::Owner => {
                let why =
                    "that is no ticket, or one that was used; `midip2p browser` gives another";
                Problem::new(Kind::Forbidden, why).into_response()
            }
        };
    }
    let Some(pass) = context.browsers.pass(SystemTime::now()) else {
        let why = "the system has no random numbers to give; ask for another link";
        return Problem::new(Kind::NoRandomness, why).into_response();
    };
    let secure = if context.info.http_tls { "; Secure" } else { "" };
    let cookie = format!(
        "{}={pass}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        cookie_name(port),
        COOKIE_LASTS.as_secs()
    );
    ([(header::SET_COOKIE, cookie)], dashboard::entered()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_ten_minutes() {
        let (browsers, start) = (Browsers::new("token", true).unwrap(), Instant::now());
        let ticket = browsers.ticket(start).unwrap();
        assert!(!browsers.redeem("", start) && !browsers.redeem(&ticket[1..], start));
        assert!(!Browsers::new("token", true).unwrap().redeem(&ticket, start), "of another start");
        assert!(browsers.redeem(&ticket, start));
        assert!(!browsers.redeem(&ticket, start));
        let late = browsers.ticket(start).unwrap();
        assert!(!browsers.redeem(&late, start + TICKET_LASTS));
        let in_time = browsers.ticket(start).unwrap();
        assert!(browsers.redeem(&in_time, start + TICKET_LASTS - Duration::from_nanos(1)));
    }

    #[test]
    fn however_many_links_are_asked_for_the_newest_are_good() {
        let (browsers, start) = (Browsers::new("token", true).unwrap(), Instant::now());
        let tickets: Vec<String> =
            (0..TICKETS * 3).map(|_| browsers.ticket(start).unwrap()).collect();
        assert_eq!(browsers.tickets.load().len(), TICKETS);
        let good = tickets.iter().map(|ticket| browsers.redeem(ticket, start));
        let want = (0..TICKETS * 3).map(|n| n >= TICKETS * 2);
        assert!(good.eq(want));
    }

    #[test]
    fn of_all_who_follow_a_link_at_once_one_is_let_in() {
        let (browsers, start) = (Browsers::new("token", true).unwrap(), Instant::now());
        for _ in 0..200 {
            let ticket = browsers.ticket(start).unwrap();
            let let_in: usize = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| usize::from(browsers.redeem(&ticket, start))))
                    .collect();
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            assert_eq!(let_in, 1);
        }
    }

    #[test]
    fn in_the_clear_a_cookie_is_worth_nothing_after_a_restart() {
        let now = SystemTime::now();
        let browsers = Browsers::new("token", false).unwrap();
        let pass = browsers.pass(now).unwrap();
        assert!(browsers.is_pass(&pass, now));
        for tls in [false, true] {
            assert!(!Browsers::new("token", tls).unwrap().is_pass(&pass, now));
        }
    }

    #[test]
    fn with_tls_it_is_known_until_it_ends_and_nothing_else_is_one() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let browsers = Browsers::new("token", true).unwrap();
        let pass = browsers.pass(now).unwrap();
        let again = Browsers::new("token", true).unwrap();
        assert!(again.is_pass(&pass, now));
        assert!(!again.is_pass(&pass, now + COOKIE_LASTS));
        assert!(!Browsers::new("another", true).unwrap().is_pass(&pass, now));
        for at in 0..pass.len() {
            let mut changed = pass.clone().into_bytes();
            changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!again.is_pass(&changed, now), "{changed}");
        }
        for bad in ["", ".", "..", "9999999999", "9999999999.x.00", "9999999999.x."] {
            assert!(!again.is_pass(bad, now), "{bad}");
        }
        // A ticket's tag is no cookie's.
        let (end, _) = pass.split_once('.').unwrap();
        let forged = hex(again.ticket_tag(&format!("{end}.x")).as_ref());
        assert!(!again.is_pass(&format!("{end}.x.{forged}"), now));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let browsers = Browsers::new("token", true).unwrap();
        let pass = browsers.pass(SystemTime::now()).unwrap();
        for (text, ok) in [
            (format!("midip2p-8080={pass}"), true),
            (format!("a=b; midip2p-8080=no;midip2p-8080={pass} ; c"), true),
            (format!("midip2p-8081={pass}"), false),
            (format!("xmidip2p-8080={pass}"), false),
            (pass.clone(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, "first=1".parse().unwrap());
            headers.append(header::COOKIE, text.parse().unwrap());
            assert_eq!(browsers.is_shown_by(&headers, 8080), ok, "{text}");
        }
    }
}
