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
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use midip2p_proto::control::PeerView;
use midip2p_proto::control::lifecycle::LinkState;
use midip2p_proto::control::trust::{Rights, Tie, TrustCommand, TrustError, TrustPolicy};
use midip2p_proto::id::NodeId;
use midip2p_proto::pairing::Code;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Context;
use super::rest::error;
use crate::os::trusted::Right;
use crate::stages::control::{ControlInput, Decided, since};
use crate::view::View;

type App = State<Arc<Context>>;

/// A policy by the name that people give and read.
pub(super) const fn policy(policy: TrustPolicy) -> &'static str {
    match policy {
        TrustPolicy::Paired => "paired",
        TrustPolicy::Session => "session",
        TrustPolicy::Open => "lan",
    }
}

pub(super) async fn list(State(context): App) -> Json<Value> {
    let view = context.shared.view.load();
    let policy = policy(context.info.trust);
    Json(json!({ "policy": policy, "peers": peers(&view) }))
}

/// Those that wait first: somebody is to decide about them.
fn peers(view: &View) -> Vec<Value> {
    let all = || view.peers.iter().map(|(peer, _)| peer);
    let is_listed = |peer: &PeerView| view.trusted.iter().any(|(node, _)| peer.node == Some(*node));
    let waits = |node| all().any(|peer| peer.node == Some(node) && peer.pairing.is_some());
    let may = |peer: &PeerView| {
        let listed = view.trusted.iter().find(|(node, _)| peer.node == Some(*node));
        listed.map(|(_, trusted)| Right::list(trusted.rights))
    };
    let waiting = all().filter(|peer| peer.pairing.is_some()).map(|peer| {
        let pairing = peer.pairing;
        json!({
            "id": peer.node.map(|node| node.to_string()),
            "name": peer.name,
            "address": peer.address.to_string(),
            "kind": peer.kind.as_str(),
            "trust": "waiting",
            "code": pairing.and_then(|p| p.code).map(|code| code.to_string()),
            "confirmed_here": pairing.is_some_and(|p| p.here),
            "confirmed_there": pairing.is_some_and(|p| p.there),
            "may": may(peer),
            "state": peer.state.as_str(),
            "waiting_ms": peer.since.map(|at| u64::try_from(since(at).as_millis()).unwrap_or(u64::MAX)),
        })
    });
    let listed = view.trusted.iter().filter(|(node, _)| !waits(*node)).map(|(node, trusted)| {
        let peer = all().find(|peer| peer.node == Some(*node));
        json!({
            "id": node.to_string(),
            "name": trusted.name,
            "address": peer.map(|peer| peer.address.to_string()),
            "trust": "confirmed",
            "may": Right::list(trusted.rights),
            "state": peer.map_or(LinkState::Disconnected, |peer| peer.state).as_str(),
        })
    });
    let others = all()
        .filter(|peer| peer.state == LinkState::Connected && peer.link.is_some())
        .filter(|peer| !is_listed(peer))
        .map(|peer| {
            json!({
                "id": peer.node.map(|node| node.to_string()),
                "name": peer.name,
                "address": peer.address.to_string(),
                "trust": why(peer.tie),
                "may": Right::list(Rights::ALL),
                "state": peer.state.as_str(),
            })
        });
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    code: Option<String>,
    may: Option<String>,
}

pub(super) async fn add(
    State(context): App,
    Path(id): Path<String>,
    Query(asked): Query<Add>,
) -> Response {
    let bad = |why: String| error(StatusCode::BAD_REQUEST, &why).into_response();
    let code = match asked.code.as_deref().map(str::parse::<Code>).transpose() {
        Ok(code) => code,
        Err(why) => return bad(why.to_string()),
    };
    let rights = match asked.may.as_deref().map(rights).transpose() {
        Ok(rights) => rights.unwrap_or(Rights::ALL),
        Err(why) => return bad(why),
    };
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

pub(super) async fn remove(State(context): App, Path(id): Path<String>) -> Response {
    decide(&context, &id, TrustCommand::Remove).await
}

pub(super) async fn ask(State(context): App, Path(id): Path<String>) -> Response {
    decide(&context, &id, TrustCommand::Ask).await
}

pub(super) async fn refuse(State(context): App, Path(id): Path<String>) -> Response {
    decide(&context, &id, TrustCommand::Refuse).await
}

async fn decide(
    context: &Context,
    id: &str,
    command: impl FnOnce(NodeId) -> TrustCommand,
) -> Response {
    let Ok(node) = id.parse::<NodeId>() else {
        let why = "a node is named here by its whole id, 64 hex digits; GET /trust has it";
        return error(StatusCode::BAD_REQUEST, why).into_response();
    };
    let stopping =
        || error(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping").into_response();
    let (answer, answered) = oneshot::channel();
    let input = ControlInput::Trust(command(node), answer);
    if context.shared.control.send(input).await.is_err() {
        return stopping();
    }
    match answered.await {
        Ok(Decided::Done(())) => Json(json!({ "id": node.to_string() })).into_response(),
        Ok(Decided::Refused(why)) => {
            let status = match why {
                TrustError::Unknown => StatusCode::NOT_FOUND,
                TrustError::Full => StatusCode::INSUFFICIENT_STORAGE,
                _ => StatusCode::CONFLICT,
            };
            error(status, &why.to_string()).into_response()
        }
        Ok(Decided::NotKept((), why)) => {
            let why = format!(
                "done, but only until the node ends: the list of trusted nodes cannot be written ({why}); \
                 free some space, then do it again"
            );
            error(StatusCode::INSUFFICIENT_STORAGE, &why).into_response()
        }
        Err(_) => stopping(),
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
