//! Sessions: who is in which, and this node joining and leaving.
//!
//! | | |
//! |---|---|
//! | `GET /sessions` | those that this node or a peer is in |
//! | `POST /sessions` | begin one: `{"name": "red", "ports": ["Piano 2"]}`; all ports, when none is named |
//! | `PUT /sessions/NAME` | join one, or be in it with other ports: `{"ports": []}` |
//! | `DELETE /sessions/NAME` | leave it |

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use midip2p_proto::control::bus::SessionView;
use midip2p_proto::control::session::{Membership, SessionCommand, SessionError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::{Context, inbox};
use crate::stages::control::{ControlInput, Decided};

type App = State<Arc<Context>>;

/// The sessions there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sessions {
    sessions: Vec<Session>,
}

/// A session, as far as it is seen from here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    /// What it is called.
    name: String,
    /// Who is in it.
    members: Vec<Member>,
}

/// A node in a session.
#[derive(Debug, Serialize, ToSchema)]
struct Member {
    /// Its id.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
    /// How it is shown.
    name: String,
    /// Whether it is this node.
    this: bool,
    /// Those of its ports that are in it.
    ports: Vec<String>,
}

/// A session that is to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSession {
    /// What it is called; case does not count.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// Ports of this node, by name, with `*` and `?`; all, when there is none.
    #[serde(default)]
    #[schema(max_items = 64)]
    ports: Vec<String>,
}

/// With what a session is joined.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct With {
    /// Ports of this node, by name, with `*` and `?`; all, when there is none.
    #[serde(default)]
    #[schema(max_items = 64)]
    ports: Vec<String>,
}

/// All sessions that this node or a peer is in.
#[utoipa::path(get, path = "/sessions", tag = "sessions", operation_id = "session_list", responses(
    (status = 200, description = "All of them.", body = Sessions),
))]
pub(super) async fn list(State(context): App) -> Json<Sessions> {
    let view = context.shared.view.load();
    Json(Sessions { sessions: view.sessions.iter().map(|one| shown(&context, one)).collect() })
}

/// Begin a session, with this node in it.
#[utoipa::path(post, path = "/sessions", tag = "sessions", operation_id = "session_create", request_body = NewSession, responses(
    (status = 201, description = "It has begun, and that is on disk.", body = Session),
    (status = 409, description = "There is one of that name, or this node is in as many as it can be."),
    (status = 422, description = "The content is JSON, and not what makes a session."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn create(
    State(context): App,
    Json(new): Json<NewSession>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let NewSession { name, ports } = new;
    decide(&context, SessionCommand::Create(Membership { name: name.clone(), ports })).await?;
    Ok((StatusCode::CREATED, answer(&context, &name)?))
}

/// Join a session, or be in it with other ports.
#[utoipa::path(put, path = "/sessions/{name}", tag = "sessions", operation_id = "session_join", params(
    ("name" = String, Path, description = "The session's name."),
), request_body = With, responses(
    (status = 200, description = "This node is in it, and that is on disk.", body = Session),
    (status = 404, description = "Nobody here or linked is in such a session."),
    (status = 409, description = "It has 64 nodes, or this node is in as many as it can be."),
    (status = 422, description = "The content is JSON, and not what joins a session."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn join(
    State(context): App,
    Path(name): Path<String>,
    Json(with): Json<With>,
) -> Result<Json<Session>, Problem> {
    let ports = with.ports;
    decide(&context, SessionCommand::Join(Membership { name: name.clone(), ports })).await?;
    answer(&context, &name)
}

/// Leave a session.
#[utoipa::path(delete, path = "/sessions/{name}", tag = "sessions", operation_id = "session_leave", params(
    ("name" = String, Path, description = "The session's name."),
), responses(
    (status = 204, description = "This node is in it no more."),
    (status = 404, description = "This node is in no such session."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn leave(
    State(context): App,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    decide(&context, SessionCommand::Leave(name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(context: &Context, view: &SessionView) -> Session {
    let members = view.members.iter().map(|member| Member {
        id: member.node.unwrap_or(context.info.id).to_string(),
        name: match member.node {
            Some(_) => member.display.clone(),
            None => context.info.name.clone(),
        },
        this: member.node.is_none(),
        ports: member.ports.clone(),
    });
    Session { name: view.name.clone(), members: members.collect() }
}

/// The session as it is now.
fn answer(context: &Context, name: &str) -> Result<Json<Session>, Problem> {
    let (view, name) = (context.shared.view.load(), name.to_lowercase());
    let session = view.sessions.iter().find(|session| session.name.to_lowercase() == name);
    let session = session.map(|session| Json(shown(context, session)));
    session.ok_or_else(|| refused(&SessionError::NotIn(name)))
}

fn refused(why: &SessionError) -> Problem {
    let kind = match why {
        SessionError::Unknown(_) | SessionError::NotIn(_) => Kind::NoSuchSession,
        SessionError::Name | SessionError::Patterns => Kind::BadRequest,
        _ => Kind::NotJoined,
    };
    Problem::new(kind, why.to_string())
}

async fn decide(context: &Context, command: SessionCommand) -> Result<(), Problem> {
    let decided =
        inbox::ask(&context.shared.control, |answer| ControlInput::Session(command, answer))
            .await?;
    match decided {
        Decided::Done(()) => Ok(()),
        Decided::Refused(why) => Err(refused(&why)),
        Decided::NotKept((), why) => {
            let why = format!(
                "done, but only until the node ends: the sessions cannot be written ({why}); free some space: it is \
                 tried again by itself"
            );
            Err(Problem::new(Kind::NotKept, why))
        }
    }
}
