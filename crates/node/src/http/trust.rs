//! `/trust`: who is trusted, who wants to be, and what somebody decides about it.
//!
//! | | |
//! |---|---|
//! | `GET /trust` | the policy, and every node that is trusted or waits |
//! | `POST /trust/ID/ask` | compare codes with it: there is one once both nodes were asked to |
//! | `POST /trust/ID?code=…&may=…` | trust it; `code`: what was compared; `may`: rights, all when not said |
//! | `POST /trust/ID/refuse` | it waits, and is not wanted |
//! | `DELETE /trust/ID` | trust it no longer |

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use midip2p_proto::control::PeerView;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::trust::{Rights, Tie, TrustCommand, TrustError, TrustPolicy};
use midip2p_proto::id::NodeId;
use midip2p_proto::pairing::Code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::{Context, inbox};
use crate::os::trusted::Right;
use crate::stages::control::{ControlInput, Decided, since};
use crate::view::View;

type App = State<Arc<Context>>;

/// Whom the node trusts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trust {
    /// By which rule.
    #[schema(pattern = "^(paired|session|lan)$")]
    policy: &'static str,
    /// Those that wait first: somebody is to decide about them.
    peers: Vec<Trusted>,
}

/// A node or program that is trusted, or waits for it.
#[derive(Debug, Serialize, ToSchema)]
struct Trusted {
    /// Its key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: Option<String>,
    /// How it is shown.
    name: String,
    /// Where it is; `null` while it is away.
    address: Option<String>,
    /// Why it is trusted, or that it waits.
    #[schema(pattern = "^(waiting|confirmed|same user|passphrase|everybody)$")]
    trust: &'static str,
    #[serde(flatten)]
    #[schema(value_type = Waiting)]
    waiting: Option<Waiting>,
    /// What it may do.
    #[schema(value_type = Option<Vec<String>>)]
    may: Option<Vec<Right>>,
    /// How things stand with it.
    #[schema(
        pattern = "^(disconnected|connecting|connected|failed|backoff|incompatible|pairing)$"
    )]
    state: &'static str,
}

/// What is to be known of one that waits.
#[derive(Debug, Serialize, ToSchema)]
struct Waiting {
    /// A node, or a program.
    #[schema(required = false, pattern = "^(node|client)$")]
    kind: &'static str,
    /// What both show; `null` until both were asked to.
    #[schema(required = false, pattern = "^[0-9]{3} [0-9]{3}$")]
    code: Option<String>,
    /// Whether somebody here has confirmed it.
    #[schema(required = false)]
    confirmed_here: bool,
    /// Whether somebody there has confirmed this node.
    #[schema(required = false)]
    confirmed_there: bool,
    /// For how long it has waited.
    #[schema(required = false)]
    waiting_ms: Option<u64>,
}

/// What was decided is done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    /// Whom it is about.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    id: String,
}

/// A policy by the name that people give and read.
pub(super) const fn policy(policy: TrustPolicy) -> &'static str {
    match policy {
        TrustPolicy::Paired => "paired",
        TrustPolicy::Session => "session",
        TrustPolicy::Open => "lan",
    }
}

/// Whom the node trusts, and who waits for it.
#[utoipa::path(get, path = "/trust", tag = "trust", operation_id = "trust_list", responses(
    (status = 200, description = "The policy, and everybody concerned.", body = Trust),
))]
pub(super) async fn list(State(context): App) -> Json<Trust> {
    let view = context.shared.view.load();
    Json(Trust { policy: policy(context.info.trust), peers: peers(&view) })
}

fn peers(view: &View) -> Vec<Trusted> {
    let all = || view.peers.iter().map(|(peer, _)| peer);
    let is_listed = |peer: &PeerView| view.trusted.iter().any(|(node, _)| peer.node == Some(*node));
    let waits = |node| all().any(|peer| peer.node == Some(node) && peer.pairing.is_some());
    let may = |peer: &PeerView| {
        let listed = view.trusted.iter().find(|(node, _)| peer.node == Some(*node));
        listed.map(|(_, trusted)| Right::list(trusted.rights))
    };
    let shown = |peer: &PeerView, trust, may| Trusted {
        id: peer.node.map(|node| node.to_string()),
        name: peer.name.clone(),
        address: Some(peer.address.to_string()),
        trust,
        waiting: None,
        may,
        state: peer.state.as_str(),
    };
    let waiting = all().filter_map(|peer| {
        let pairing = peer.pairing?;
        let waiting = Waiting {
            kind: peer.kind.as_str(),
            code: pairing.code.map(|code| code.to_string()),
            confirmed_here: pairing.here,
            confirmed_there: pairing.there,
            waiting_ms: peer
                .since
                .map(|at| u64::try_from(since(at).as_millis()).unwrap_or(u64::MAX)),
        };
        Some(Trusted { waiting: Some(waiting), ..shown(peer, "waiting", may(peer)) })
    });
    let listed = view.trusted.iter().filter(|(node, _)| !waits(*node)).map(|(node, trusted)| {
        let peer = all().find(|peer| peer.node == Some(*node));
        Trusted {
            id: Some(node.to_string()),
            name: trusted.name.clone(),
            address: peer.map(|peer| peer.address.to_string()),
            trust: "confirmed",
            waiting: None,
            may: Some(Right::list(trusted.rights)),
            state: peer.map_or(LinkState::Disconnected, |peer| peer.state).as_str(),
        }
    });
    let others = all()
        .filter(|peer| peer.state == LinkState::Connected && peer.link.is_some())
        .filter(|peer| !is_listed(peer))
        .map(|peer| shown(peer, why(peer.tie), Some(Right::list(Rights::ALL))));
    waiting.chain(listed).chain(others).collect()
}

/// Why a peer is trusted that nobody confirmed.
const fn why(tie: Option<Tie>) -> &'static str {
    match tie {
        Some(Tie::User) => "same user",
        Some(Tie::Passphrase) => "passphrase",
        None => "everybody",
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Add {
    /// What was compared. Without it the id is taken to have been compared by other means.
    #[param(pattern = "^[ -]*([0-9][ -]*){6}$", required = false)]
    code: Option<String>,
    /// What it may do, with commas between; everything when it is left out.
    #[param(
        pattern = "^ *(send|receive|route|playhead|reset)? *(, *(send|receive|route|playhead|reset)? *)*$",
        required = false
    )]
    may: Option<String>,
}

/// Trust a node, one that was never seen too: then its owner has read out its id.
#[utoipa::path(post, path = "/trust/{id}", tag = "trust", operation_id = "trust_add", params(
    ("id" = String, Path, pattern = "^[0-9a-fA-F]{64}$", description = "The node's whole id."),
    Add,
), responses(
    (status = 200, description = "It is trusted, and that is on disk.", body = Done),
    (status = 409, description = "The code is another's, it is this node, or a program that can have no rights."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written, or there are too many."),
))]
pub(super) async fn add(
    State(context): App,
    Path(id): Path<String>,
    Query(asked): Query<Add>,
) -> Result<Json<Done>, Problem> {
    let bad = |why: String| Problem::new(Kind::BadRequest, why);
    let code = asked.code.as_deref().map(str::parse::<Code>).transpose();
    let code = code.map_err(|why| bad(format!("`code`: {why}")))?;
    let rights = asked.may.as_deref().map(rights).transpose();
    let rights = rights.map_err(|why| bad(format!("`may`: {why}")))?.unwrap_or(Rights::ALL);
    decide(&context, &id, |node| TrustCommand::Add { node, code, rights }).await
}

/// Rights by their names, with commas between them; none when there is nothing.
fn rights(names: &str) -> Result<Rights, String> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let list: Result<Vec<Right>, String> = names
        .map(|name| {
            serde_json::from_value(name.into()).map_err(|_| {
                format!("{name:?} is no right; there are send, receive, route, playhead, reset")
            })
        })
        .collect();
    Ok(Right::all_of(&list?))
}

/// Trust a node no longer.
#[utoipa::path(delete, path = "/trust/{id}", tag = "trust", operation_id = "trust_remove", params(
    ("id" = String, Path, pattern = "^[0-9a-fA-F]{64}$", description = "The node's whole id."),
), responses(
    (status = 200, description = "It is done.", body = Done),
    (status = 404, description = "It neither waits nor is trusted."),
    (status = 409, description = "It comes back all the same."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn remove(
    State(context): App,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    decide(&context, &id, TrustCommand::Remove).await
}

/// Begin to compare codes with a node that waits.
#[utoipa::path(post, path = "/trust/{id}/ask", tag = "trust", operation_id = "trust_ask", params(
    ("id" = String, Path, pattern = "^[0-9a-fA-F]{64}$", description = "The node's whole id."),
), responses(
    (status = 200, description = "It is done.", body = Done),
    (status = 404, description = "It neither waits nor is trusted."),
    (status = 409, description = "It has nothing to be asked."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn ask(
    State(context): App,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    decide(&context, &id, TrustCommand::Ask).await
}

/// Refuse a node that waits.
#[utoipa::path(post, path = "/trust/{id}/refuse", tag = "trust", operation_id = "trust_refuse", params(
    ("id" = String, Path, pattern = "^[0-9a-fA-F]{64}$", description = "The node's whole id."),
), responses(
    (status = 200, description = "It is done.", body = Done),
    (status = 404, description = "It neither waits nor is trusted."),
    (status = 409, description = "It cannot be refused."),
    (status = 503, description = "The node is busy, or stopping."),
    (status = 507, description = "It is done and could not be written."),
))]
pub(super) async fn refuse(
    State(context): App,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    decide(&context, &id, TrustCommand::Refuse).await
}

async fn decide(
    context: &Context,
    id: &str,
    command: impl FnOnce(NodeId) -> TrustCommand,
) -> Result<Json<Done>, Problem> {
    let Ok(node) = id.parse::<NodeId>() else {
        let why = "a node is named here by its whole id, 64 hex digits; GET /trust has it";
        return Err(Problem::new(Kind::BadRequest, why));
    };
    let command = command(node);
    let decided =
        inbox::ask(&context.shared.control, |answer| ControlInput::Trust(command, answer)).await?;
    match decided {
        Decided::Done(()) => Ok(Json(Done { id: node.to_string() })),
        Decided::Refused(why) => {
            let kind = match why {
                TrustError::Unknown => Kind::NotKnown,
                TrustError::Full => Kind::NotKept,
                _ => Kind::NotDecided,
            };
            Err(Problem::new(kind, why.to_string()))
        }
        Decided::NotKept((), why) => {
            let why = format!(
                "done, but only until the node ends: the list of trusted nodes cannot be written ({why}); \
                 free some space: it is tried again by itself"
            );
            Err(Problem::new(Kind::NotKept, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_by_their_names() {
        assert_eq!(rights("send,receive,route,playhead,reset"), Ok(Rights::ALL));
        let only = rights(" send , reset,").unwrap();
        assert_eq!(Right::list(only), [Right::Send, Right::Reset]);
        assert_eq!(Right::list(rights("").unwrap()), []);
        for bad in ["play", "Send", "send receive", "\"send\""] {
            assert!(rights(bad).unwrap_err().contains("playhead"), "{bad}");
        }
    }
}
