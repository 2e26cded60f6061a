//! `GET /openapi.json`: the interface as OpenAPI 3.1, made of the same table that the requests are led by.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::{Arc, LazyLock};
use utoipa::OpenApi;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::metrics::{connection, midi, prometheus};
use super::problem::{CONTENT_TYPE, Problem};
use super::{
    Context, browser, clock, dashboard, debug, devices, events, mesh, node, ping,
    routes as routing, sessions, trust, ws,
};

/// What every request may be refused for, whatever it asks.
const ALWAYS: [(&str, &str); 8] = [
    ("400", "The request is malformed."),
    ("401", "By the network: neither the token nor a cookie was shown."),
    ("403", "It comes from a page from elsewhere, or a browser may not do that."),
    ("405", "The path has no such method; `Allow` says which it has."),
    ("413", "The content is longer than 64 KiB."),
    ("415", "The content is not JSON."),
    ("421", "`Host` is not an address of this node."),
    ("429", "Too many requests of this machine showed nothing."),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "midip2p",
        description = "A node of midip2p: MIDI between machines as if they were one studio. It is reached by the \
            socket of its user in the file system, where nothing is to be shown, and by the network, where a program \
            shows the token and a browser its cookie. All errors are `application/problem+json` (RFC 9457).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem)),
    tags(
        (name = "node", description = "The node itself."),
        (name = "network", description = "Its peers."),
        (name = "midi", description = "Ports and what goes through them."),
        (name = "routing", description = "Routes that people made."),
        (name = "trust", description = "Who may play here."),
        (name = "metrics", description = "What is counted."),
        (name = "browser", description = "Pages, and how a browser is let in."),
    )
)]
struct Described;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let (_, mut document) = table().split_for_parts();
    complete(&mut document);
    document.to_json().unwrap_or_default()
});

/// All paths, and who answers there.
pub(super) fn paths() -> Router<Arc<Context>> {
    table().split_for_parts().0
}

fn table() -> OpenApiRouter<Arc<Context>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(node::info))
        .routes(routes!(node::panic))
        .routes(routes!(mesh::mesh))
        .routes(routes!(ping::ping))
        .routes(routes!(clock::clock))
        .routes(routes!(devices::devices))
        .routes(routes!(ws::open))
        .routes(routes!(events::events))
        .routes(routes!(trust::list))
        .routes(routes!(trust::add, trust::remove))
        .routes(routes!(trust::ask))
        .routes(routes!(trust::refuse))
        .routes(routes!(routing::list, routing::add))
        .routes(routes!(routing::one, routing::change, routing::remove))
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::join, sessions::leave))
        .routes(routes!(debug::debug))
        .routes(routes!(midi::midi))
        .routes(routes!(prometheus::prometheus))
        .routes(routes!(connection::connection))
        .routes(routes!(browser::invite))
        .routes(routes!(browser::enter))
        .routes(routes!(dashboard::index))
        .routes(routes!(dashboard::script))
        .routes(routes!(dashboard::style))
        .routes(routes!(dashboard::icon))
        .routes(routes!(openapi))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "node", responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object),
))]
async fn openapi(State(_): State<Arc<Context>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// Adds what holds for all paths.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("What is in `token` in the node's state directory. By the user's socket nothing is needed."))
        .build();
    components.add_security_scheme("token", SecurityScheme::Http(token));
    let what = "What a browser has that was let in by a link; the name ends with the port. What does more than look \
        needs the node's `Origin` as well.";
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description("midip2p-8080", what));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    for (status, description) in ALWAYS {
        components.responses.insert(name(status), RefOr::T(refusal(status, description)));
    }
    let ways = ["token", "cookie"].map(|way| SecurityRequirement::new(way, [""; 0]));
    document.security = Some(ways.to_vec());
    document.paths.paths.values_mut().flat_map(operations).for_each(finish);
}

fn name(status: &str) -> String {
    format!("Refused{status}")
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, put, patch, delete, .. } = item;
    [get, post, put, patch, delete].into_iter().filter_map(Option::as_mut)
}

/// What a handler says of its errors is said in documents; the others are the same everywhere.
fn finish(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(said) = response
            && status.as_str() >= "400"
        {
            *said = refusal(status, &said.description);
        }
    }
    for (status, _) in ALWAYS {
        let shared = || RefOr::Ref(Ref::from_response_name(name(status)));
        responses.entry(status.to_owned()).or_insert_with(shared);
    }
}

fn refusal(status: &str, description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response =
        ResponseBuilder::new().description(description).content(CONTENT_TYPE, content);
    let header = match status {
        "401" => Some(("WWW-Authenticate", Type::String)),
        "405" => Some(("Allow", Type::String)),
        "429" | "503" => Some(("Retry-After", Type::Integer)),
        _ => None,
    };
    if let Some((name, kind)) = header {
        let schema = ObjectBuilder::new().schema_type(kind).build();
        response = response.header(name, HeaderBuilder::new().schema(Some(schema)).build());
    }
    response.build()
}
