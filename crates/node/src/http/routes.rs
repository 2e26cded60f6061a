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
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::control::routing::{
    RouteCommand, RouteEnd, RouteError, RouteId, RouteSpec, RouteView,
};
use midip2p_proto::data::filter::Filter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Context;
use super::rest::error;
use crate::routing::{FilterJson, RouteJson};
use crate::session::names::resolve;
use crate::stages::control::{ControlInput, Decided};

type App = State<Arc<Context>>;

/// A route, and how it is doing.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    route: RouteJson,
    /// "active", "disabled", "source away", "destination away", "no room".
    state: &'static str,
    /// How many messages passed since the node started.
    messages: u64,
}

/// A route that is to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// A source, by its name.
    from: String,
    /// A destination, by its name.
    to: String,
    #[serde(default)]
    filter: FilterJson,
    #[serde(default)]
    priority: u8,
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// What is to be changed of a route; what is left out stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    filter: Option<FilterJson>,
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

pub(super) async fn list(State(context): App) -> Json<Value> {
    let view = context.shared.view.load();
    let routes: Vec<Shown> = view.routes.iter().map(|route| shown(&context, route)).collect();
    Json(json!({ "routes": routes }))
}

pub(super) async fn one(State(context): App, Path(id): Path<String>) -> Response {
    let Some(id) = id_of(&id) else { return no_id() };
    answer(&context, StatusCode::OK, id)
}

pub(super) async fn add(State(context): App, body: Result<Json<New>, JsonRejection>) -> Response {
    let new = match body {
        Ok(Json(new)) => new,
        Err(why) => return error(why.status(), &why.body_text()).into_response(),
    };
    let filter = match Filter::try_from(&new.filter) {
        Ok(filter) => filter,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()).into_response(),
    };
    let end = |name: &str, direction| {
        let view = context.shared.view.load();
        let found = resolve(&view.ports, name, direction).map_err(|why| {
            let problem = json!({ "error": why.error, "closest": why.closest });
            (StatusCode::NOT_FOUND, Json(problem)).into_response()
        })?;
        let Wish::Port { node, identity } = found else { return Err(no_id()) };
        Ok(RouteEnd { node, identity, name: name.to_owned() })
    };
    let ends = end(&new.from, Direction::Source)
        .and_then(|source| Ok((source, end(&new.to, Direction::Destination)?)));
    let (source, sink) = match ends {
        Ok(ends) => ends,
        Err(response) => return response,
    };
    let (priority, enabled) = (new.priority, new.enabled);
    let spec = RouteSpec { source, sink, filter, priority, enabled };
    decide(&context, RouteCommand::Add(spec), |id| {
        let mut response = answer(&context, StatusCode::CREATED, id);
        if let Ok(place) = format!("/routing/routes/{}", id.0).parse() {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    })
    .await
}

pub(super) async fn change(
    State(context): App,
    Path(id): Path<String>,
    body: Result<Json<Change>, JsonRejection>,
) -> Response {
    let Some(id) = id_of(&id) else { return no_id() };
    let Change { filter, priority, enabled } = match body {
        Ok(Json(change)) => change,
        Err(why) => return error(why.status(), &why.body_text()).into_response(),
    };
    let filter = match filter.as_ref().map(Filter::try_from).transpose() {
        Ok(filter) => filter,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()).into_response(),
    };
    let command = RouteCommand::Change { id, filter, priority, enabled };
    decide(&context, command, |id| answer(&context, StatusCode::OK, id)).await
}

pub(super) async fn remove(State(context): App, Path(id): Path<String>) -> Response {
    let Some(id) = id_of(&id) else { return no_id() };
    let gone = |_| StatusCode::NO_CONTENT.into_response();
    decide(&context, RouteCommand::Remove(id), gone).await
}

fn id_of(text: &str) -> Option<RouteId> {
    text.parse().ok().map(RouteId)
}

fn no_id() -> Response {
    let why = "a route is named by its number; GET /routing/routes has it";
    error(StatusCode::BAD_REQUEST, why).into_response()
}

/// The route as it is now.
fn answer(context: &Context, status: StatusCode, id: RouteId) -> Response {
    let view = context.shared.view.load();
    match view.routes.iter().find(|route| route.id == id) {
        Some(route) => (status, Json(shown(context, route))).into_response(),
        None => refused(RouteError::Unknown(id)),
    }
}

fn refused(why: RouteError) -> Response {
    let status = match why {
        RouteError::Unknown(_) => StatusCode::NOT_FOUND,
        RouteError::Full | RouteError::NoNumber => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::CONFLICT,
    };
    error(status, &why.to_string()).into_response()
}

async fn decide(
    context: &Context,
    command: RouteCommand,
    done: impl FnOnce(RouteId) -> Response,
) -> Response {
    let stopping =
        || error(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping").into_response();
    let (sender, answered) = oneshot::channel();
    if context.shared.control.send(ControlInput::Route(command, sender)).await.is_err() {
        return stopping();
    }
    match answered.await {
        Ok(Decided::Done(id)) => done(id),
        Ok(Decided::Refused(why)) => refused(why),
        Ok(Decided::NotKept(_, why)) => {
            let why = format!(
                "done, but only until the node ends: the routes cannot be written ({why}); free some space, then do \
                 it again"
            );
            error(StatusCode::INSUFFICIENT_STORAGE, &why).into_response()
        }
        Err(_) => stopping(),
    }
}
