//! What is answered when something was not done: one kind of document for all errors (RFC 9457).
//!
//! `type` and `title` say which sort of error it is and never change; `detail` says what was wrong with this request,
//! and what to do next. Where no handler has made one, because the framework refused the request, [`shape`] does.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// How such a document is called.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// Where the sorts are described; one adds its word.
const TYPES: &str = "https://github.com/midip2p/midip2p/blob/main/docs/http.md#problem-";

/// Words of the framework that are read; none of them is longer.
const WORDS_MAX: usize = 4096;

/// A sort of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    NotLetIn,
    Forbidden,
    NoSuchPath,
    NoSuchPeer,
    NoSuchPort,
    NoSuchRoute,
    NoSuchSession,
    NotKnown,
    MethodNotAllowed,
    NotLinked,
    NotDecided,
    NotRouted,
    NotJoined,
    TooLong,
    NotJson,
    OtherHost,
    NotUnderstood,
    UpgradeRequired,
    TooManyRefused,
    Broken,
    Busy,
    Stopping,
    TooMany,
    NoRandomness,
    NoAnswer,
    NotKept,
}

impl Kind {
    /// All there are, as `docs/http.md` lists them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 27] = [
        Self::BadRequest,
        Self::NotLetIn,
        Self::Forbidden,
        Self::NoSuchPath,
        Self::NoSuchPeer,
        Self::NoSuchPort,
        Self::NoSuchRoute,
        Self::NoSuchSession,
        Self::NotKnown,
        Self::MethodNotAllowed,
        Self::NotLinked,
        Self::NotDecided,
        Self::NotRouted,
        Self::NotJoined,
        Self::TooLong,
        Self::NotJson,
        Self::OtherHost,
        Self::NotUnderstood,
        Self::UpgradeRequired,
        Self::TooManyRefused,
        Self::Broken,
        Self::Busy,
        Self::Stopping,
        Self::TooMany,
        Self::NoRandomness,
        Self::NoAnswer,
        Self::NotKept,
    ];

    /// Its status, its word, its title.
    const fn words(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => (S::BAD_REQUEST, "bad-request", "The request is malformed"),
            Self::NotLetIn => (S::UNAUTHORIZED, "not-let-in", "The request shows no token"),
            Self::Forbidden => (S::FORBIDDEN, "forbidden", "Whoever asks may not do that"),
            Self::NoSuchPath => (S::NOT_FOUND, "no-such-path", "There is nothing at this path"),
            Self::NoSuchPeer => (S::NOT_FOUND, "no-such-peer", "No peer, or several, are meant"),
            Self::NoSuchPort => (S::NOT_FOUND, "no-such-port", "No port, or several, are meant"),
            Self::NoSuchRoute => (S::NOT_FOUND, "no-such-route", "No route has this number"),
            Self::NoSuchSession => (S::NOT_FOUND, "no-such-session", "No session has this name"),
            Self::NotKnown => (S::NOT_FOUND, "not-known", "The node neither waits nor is trusted"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "The path has no such method")
            }
            Self::NotLinked => (S::CONFLICT, "not-linked", "The peer is not linked"),
            Self::NotRouted => (S::CONFLICT, "not-routed", "The route cannot be made so"),
            Self::NotJoined => (S::CONFLICT, "not-joined", "The session cannot be joined so"),
            Self::NotDecided => (S::CONFLICT, "not-decided", "Trust cannot be changed so"),
            Self::TooLong => {
                (S::PAYLOAD_TOO_LARGE, "too-long", "The request's content is too long")
            }
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "not-json", "The content is not JSON"),
            Self::OtherHost => {
                (S::MISDIRECTED_REQUEST, "other-host", "The request is for another host")
            }
            Self::NotUnderstood => {
                (S::UNPROCESSABLE_ENTITY, "not-understood", "The content does not fit")
            }
            Self::UpgradeRequired => {
                (S::UPGRADE_REQUIRED, "upgrade-required", "The path takes WebSockets only")
            }
            Self::TooManyRefused => {
                (S::TOO_MANY_REQUESTS, "too-many-refused", "Too many requests were refused")
            }
            Self::Broken => (S::INTERNAL_SERVER_ERROR, "broken", "The node made a mistake"),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy", "The node is busy"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "The node is stopping"),
            Self::TooMany => {
                (S::SERVICE_UNAVAILABLE, "too-many", "Too many of these are under way")
            }
            Self::NoRandomness => {
                (S::SERVICE_UNAVAILABLE, "no-randomness", "The system has no random numbers")
            }
            Self::NoAnswer => (S::GATEWAY_TIMEOUT, "no-answer", "The peer does not answer"),
            Self::NotKept => (S::INSUFFICIENT_STORAGE, "not-kept", "It cannot be kept on disk"),
        }
    }

    /// The sort of what the framework refused.
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NoSuchPath,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLong,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::NotJson,
            StatusCode::UNPROCESSABLE_ENTITY => Self::NotUnderstood,
            StatusCode::UPGRADE_REQUIRED => Self::UpgradeRequired,
            _ if status.is_server_error() => Self::Broken,
            _ => Self::BadRequest,
        }
    }
}

/// An error, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Which sort of error it is: where it is described.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    kind: String,
    /// The sort in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong, where, and what to do next; for people.
    detail: String,
    /// Names that do exist, where one was not found, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    closest: Vec<String>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// An error in these words.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, word, title) = kind.words();
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))];
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.push((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        Self {
            kind: format!("{TYPES}{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            closest: Vec::new(),
            headers,
        }
    }

    /// The node is about to end.
    pub(super) fn stopping() -> Self {
        Self::new(Kind::Stopping, "the node is stopping; start it again with `midip2p up`")
    }

    /// With the names that may have been meant.
    pub(super) fn closest(mut self, names: Vec<String>) -> Self {
        self.closest = names;
        self
    }

    /// With one more line in the head of the answer.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = std::mem::take(&mut self.headers);
        let mut response = (status, Json(self)).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Nothing is at this path.
pub(super) async fn not_found() -> Problem {
    Problem::new(Kind::NoSuchPath, "there is nothing here; GET /openapi.json lists what there is")
}

/// Makes a document of what the framework says when it refuses a request: it has plain words, or none.
pub(super) async fn shape(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_told =
        kind.is_some_and(|kind| kind == CONTENT_TYPE.as_bytes() || kind.starts_with(b"text/html"));
    if !is_error || is_told {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let words = to_bytes(body, WORDS_MAX).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    head.headers.remove(header::CONTENT_LENGTH);
    let detail = detail(status, &method, &path, &head.headers, &words);
    let mut shaped = Problem::new(Kind::of(status), detail).into_response();
    // What the sort does not say is said by the status itself.
    *shaped.status_mut() = status;
    for (name, value) in &head.headers {
        if !shaped.headers().contains_key(name) {
            shaped.headers_mut().insert(name, value.clone());
        }
    }
    shaped
}

fn detail(
    status: StatusCode,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    words: &str,
) -> String {
    let next = "GET /openapi.json says what it takes";
    let allowed = headers.get(header::ALLOW).and_then(|allow| allow.to_str().ok());
    match allowed {
        Some(allowed) if status == StatusCode::METHOD_NOT_ALLOWED => {
            format!("{path} has no {method}, only {}", allowed.replace(',', ", "))
        }
        _ if words.is_empty() => format!("{method} {path} was refused; {next}"),
        _ => format!("{method} {path}: {words}; {next}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_is_described_once_under_the_address_it_names() {
        let docs = include_str!("../../../../docs/http.md");
        let mut words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.words().1).collect();
        for kind in Kind::ALL {
            let (status, word, _) = kind.words();
            let row = format!("| <a id=\"problem-{word}\"></a>`{word}` | {} |", status.as_u16());
            assert_eq!(docs.matches(&row).count(), 1, "{row}");
        }
        assert_eq!(docs.matches("<a id=\"problem-").count(), words.len());
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Kind::ALL.len());
    }

    #[test]
    fn who_may_come_again_is_told_when() {
        for kind in Kind::ALL {
            let (status, _, title) = kind.words();
            let problem = Problem::new(kind, "why");
            let said = serde_json::to_value(&problem).unwrap();
            assert_eq!(
                (said["status"].as_u64(), &said["title"]),
                (Some(status.as_u16().into()), &title.into())
            );
            assert!(said.get("closest").is_none() && said.get("headers").is_none());
            let answer = problem.into_response();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
            let is_for_now = matches!(status.as_u16(), 429 | 503);
            assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), is_for_now);
        }
    }
}
