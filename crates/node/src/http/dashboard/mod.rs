//! The node's own page in a browser: what is connected, and who wants to be.
//!
//! Everything is in the program, nothing comes from elsewhere, and the browser is told so: no script runs that is
//! not one of these files, and no other page may show this one in a frame.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// How the pages look.
pub(super) const STYLE: &str = "/style.css";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every answer says to a browser.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts into an answer what it says to a browser.
pub(super) async fn harden(mut answer: Response) -> Response {
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The page.
#[utoipa::path(get, path = "/", tag = "browser", responses(
    (status = 200, description = "Peers, and who wants to connect.", body = String, content_type = "text/html"),
))]
pub(super) async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}

/// What the page does.
#[utoipa::path(get, path = "/page.js", tag = "browser", responses(
    (status = 200, description = "Its script.", body = String, content_type = "text/javascript"),
))]
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"))
}

/// How the pages look.
#[utoipa::path(get, path = "/style.css", tag = "browser", security(()), responses(
    (status = 200, description = "Their style.", body = String, content_type = "text/css"),
))]
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

/// That there is no icon.
#[utoipa::path(get, path = "/favicon.ico", tag = "browser", responses(
    (status = 204, description = "There is none."),
))]
pub(super) async fn icon() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// What a browser sees that followed a link: it goes on to the page.
pub(super) fn entered() -> Response {
    Html(include_str!("entered.html")).into_response()
}

/// What a browser sees that was not let in.
pub(super) fn locked() -> Response {
    let page = Html(include_str!("locked.html"));
    (StatusCode::UNAUTHORIZED, page).into_response()
}

#[cfg(test)]
mod tests {
    /// The policy of the pages would keep any of it from working, or show that it was let slip.
    #[test]
    fn no_page_has_script_or_style_of_its_own_or_anything_from_elsewhere() {
        let pages = ["index.html", "entered.html", "locked.html"].map(|name| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/dashboard/");
            std::fs::read_to_string(format!("{path}{name}")).unwrap()
        });
        for page in pages {
            let lower = page.to_lowercase();
            for word in
                ["<script>", "<style", " style=", "javascript:", "//", " onclick", " onload"]
            {
                assert!(!lower.contains(word), "{word} in {page}");
            }
        }
        let script = include_str!("page.js");
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(word), "{word}: names come from the network");
        }
    }
}
