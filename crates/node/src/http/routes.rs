//! The routes that people made: listed, made, changed, removed.
//!
//! | | |
//! |---|---|
//! | `GET /routing/routes` | all of them, each with how it is doing and how many messages it passed |
//! | `POST /routing/routes` | make one: `{"from": "Keys", "to": "Synth @ stage", "filter": {…}, "priority": 0, "enabled": true}` |
//! | `GET /routing/routes/ID` | one |
//! | `PATCH /routing/routes/ID` | change what is named: `filter`, `priority`, `enabled` |
//! | `DELETE /routing/routes/ID` | remove one; what it held is released |

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::routing::{
    RouteCommand, RouteEnd, RouteError, RouteId, RouteSpec, RouteView,
};
use midip2p_proto::data::filter::Filter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::{Context, inbox};
use crate::routing::{FilterJson, RouteJson};
use crate::session::names::{NotFound, resolve};
use crate::stages::control::{ControlInput, Decided};

type App = State<Arc<Context>>;

/// The routes that people made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Routes {
    routes: Vec<Shown>,
}

/// A route, and how it is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shown {
    #[serde(flatten)]
    route: RouteJson,
    /// How it is doing.
    #[schema(
        pattern = "^(active|disabled|source away|destination away|other session|loop cut|no room)$"
    )]
    state: &'static str,
    /// How many messages passed since the node started.
    messages: u64,
}

/// A route that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// A source, by its name.
    from: String,
    /// A destination, by its name.
    to: String,
    #[serde(default)]
    filter: FilterJson,
    #[serde(default)]
    #[schema(maximum = 255)]
    priority: u8,
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// What is to be changed of a route; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    filter: Option<FilterJson>,
    #[schema(maximum = 255)]
    priority: Option<u8>,
    enabled: Option<bool>,
}

fn shown(context: &Context, view: &RouteView) -> Shown {
    let counters = context.shared.ports.get(usize::from(view.tap.0));
    Shown {
        route: RouteJson::of(view.id.0, &view.spec),
        state: view.state.as_str(),
        messages: counters.map_or(0, |port| port.messages.read()),
    }
}

/// All routes.
#[utoipa::path(get, path = "/routing/routes", tag = "routing", operation_id = "route_list", responses(
    (status = 200, description = "All of them.", body = Routes),
))]
pub(super) async fn list(State(context): App) -> Json<Routes> {
    let view = context.shared.view.load();
    Json(Routes { routes: view.routes.iter().map(|route| shown(&context, route)).collect() })
}

/// One route.
#[utoipa::path(get, path = "/routing/routes/{id}", tag = "routing", operation_id = "route", params(
    ("id" = u32, Path, description = "The route's number."),
), responses(
    (status = 200, description = "It.", body = Shown),
    (status = 404, description = "There is no such route."),
))]
pub(super) async fn one(
    State(context): App,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    answer(&context, id_of(&id)?)
}

/// Make a route.
#[utoipa::path(post, path = "/routing/routes", tag = "routing", operation_id = "route_add", request_body = New, responses(
    (status = 201, description = "It is made, and that is on disk.", body = Shown,
     headers(("Location" = String, description = "Where it is."))),
    (status = 404, description = "No port, or several, have such a name."),
    (status = 409, description = "There is one that does the same, or neither port is of this node."),
    (status = 422, description = "The content is JSON, and not what makes a route."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written, or there are too many."),
))]
pub(super) async fn add(
    State(context): App,
    Json(new): Json<New>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Shown>), Problem> {
    let filter = filter(&new.filter)?;
    let end = |name: &str, direction| {
        let view = context.shared.view.load();
        let found = resolve(&view.ports, name, direction);
        let found = found.map_err(|NotFound { error, closest }| {
            Problem::new(Kind::NoSuchPort, error).closest(closest)
        })?;
        let Wish::Port { node, identity } = found else { return Err(no_id()) };
        Ok(RouteEnd { node, identity, name: name.to_owned() })
    };
    let source = end(&new.from, Direction::Source)?;
    let sink = end(&new.to, Direction::Destination)?;
    let (priority, enabled) = (new.priority, new.enabled);
    let spec = RouteSpec { source, sink, filter, priority, enabled };
    let id = decide(&context, RouteCommand::Add(spec)).await?;
    let place = [(header::LOCATION, format!("/routing/routes/{}", id.0))];
    Ok((StatusCode::CREATED, place, answer(&context, id)?))
}

/// Change a route.
#[utoipa::path(patch, path = "/routing/routes/{id}", tag = "routing", operation_id = "route_change", params(
    ("id" = u32, Path, description = "The route's number."),
), request_body = Change, responses(
    (status = 200, description = "It is changed, and that is on disk.", body = Shown),
    (status = 404, description = "There is no such route."),
    (status = 409, description = "There is one that does the same."),
    (status = 422, description = "The content is JSON, and not what changes a route."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn change(
    State(context): App,
    Path(id): Path<String>,
    Json(change): Json<Change>,
) -> Result<Json<Shown>, Problem> {
    let id = id_of(&id)?;
    let Change { filter: json, priority, enabled } = change;
    let filter = json.as_ref().map(filter).transpose()?;
    let command = RouteCommand::Change { id, filter, priority, enabled };
    answer(&context, decide(&context, command).await?)
}

/// Remove a route; what it held is released.
#[utoipa::path(delete, path = "/routing/routes/{id}", tag = "routing", operation_id = "route_remove", params(
    ("id" = u32, Path, description = "The route's number."),
), responses(
    (status = 204, description = "It is gone."),
    (status = 404, description = "There is no such route."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn remove(
    State(context): App,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    decide(&context, RouteCommand::Remove(id_of(&id)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn filter(json: &FilterJson) -> Result<Filter, Problem> {
    Filter::try_from(json).map_err(|why| Problem::new(Kind::BadRequest, format!("`filter`: {why}")))
}

fn id_of(text: &str) -> Result<RouteId, Problem> {
    text.parse().map(RouteId).map_err(|_| no_id())
}

fn no_id() -> Problem {
    let why = "a route is named by its number; GET /routing/routes has it";
    Problem::new(Kind::BadRequest, why)
}

/// The route as it is now.
fn answer(context: &Context, id: RouteId) -> Result<Json<Shown>, Problem> {
    let view = context.shared.view.load();
    let route = view.routes.iter().find(|route| route.id == id);
    route.map(|route| Json(shown(context, route))).ok_or_else(|| refused(RouteError::Unknown(id)))
}

fn refused(why: RouteError) -> Problem {
    let kind = match why {
        RouteError::Unknown(_) => Kind::NoSuchRoute,
        RouteError::Full | RouteError::NoNumber => Kind::NotKept,
        _ => Kind::NotRouted,
    };
    Problem::new(kind, why.to_string())
}

async fn decide(context: &Context, command: RouteCommand) -> Result<RouteId, Problem> {
    let decided =
        inbox::ask(&context.shared.control, |answer| ControlInput::Route(command, answer)).await?;
    match decided {
        Decided::Done(id) => Ok(id),
        Decided::Refused(why) => Err(refused(why)),
        Decided::NotKept(_, why) => {
            let why = format!(
                "done, but only until the node ends: the routes cannot be written ({why}); free some space: it is \
                 tried again by itself"
            );
            Err(Problem::new(Kind::NotKept, why))
        }
    }
}
