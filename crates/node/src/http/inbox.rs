//! The way to the control stage: what is asked is taken and answered within two seconds, or the asker is told.
//!
//! What can be read is read from snapshots, and never comes this way.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::problem::{Kind, Problem};
use crate::stages::control::ControlInput;
use crate::stages::inbox::{AskError, Sender};

/// How long the stage has to take something and to answer: a thousand times what it takes when all is well.
pub(super) const WITHIN: Duration = Duration::from_secs(2);

/// Has the stage do something that has no answer.
pub(super) async fn tell(inbox: &Sender<ControlInput>, input: ControlInput) -> Result<(), Problem> {
    match timeout(WITHIN, inbox.send(input)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Problem::stopping()),
        Err(_) => Err(problem(AskError::Overloaded)),
    }
}

/// Has the stage do something, and waits for its answer.
pub(super) async fn ask<T>(
    inbox: &Sender<ControlInput>,
    input: impl FnOnce(oneshot::Sender<T>) -> ControlInput,
) -> Result<T, Problem> {
    inbox.ask(WITHIN, input).await.map_err(problem)
}

fn problem(error: AskError) -> Problem {
    let seconds = WITHIN.as_secs();
    let why = match error {
        AskError::Gone => return Problem::stopping(),
        AskError::Overloaded => format!(
            "the node has more to do than it can, and has not taken this within {seconds} s: nothing was done; \
             try again"
        ),
        AskError::Late => format!(
            "the node took this, and has not said within {seconds} s what became of it: it may still be done; \
             look first, then ask again"
        ),
    };
    Problem::new(Kind::Busy, why)
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use axum::response::IntoResponse as _;
    use midip2p_proto::control::trust::{TrustCommand, TrustError};
    use midip2p_proto::id::NodeId;
    use serde_json::Value;
    use tokio::time::Instant;

    use super::*;
    use crate::stages::control::Decided;
    use crate::stages::inbox::{Inbox, Policy, inbox};

    fn one() -> (Sender<ControlInput>, Inbox<ControlInput>) {
        inbox("control", Policy::Wait, 1)
    }

    fn refuse(answer: oneshot::Sender<Decided<(), TrustError>>) -> ControlInput {
        ControlInput::Trust(TrustCommand::Refuse(NodeId([1; 32])), answer)
    }

    /// The status, whether it says when to come again, and what it says.
    async fn said(problem: Problem) -> (u16, bool, String) {
        let answer = problem.into_response();
        let (status, again) = (answer.status(), answer.headers().contains_key(header::RETRY_AFTER));
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status.as_u16(), again, body["detail"].as_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_takes_nothing_costs_its_askers_two_seconds() {
        let (inbox, mut held) = one();
        tell(&inbox, ControlInput::Panic).await.unwrap();
        let begun = Instant::now();
        let (status, again, why) = said(ask(&inbox, refuse).await.unwrap_err()).await;
        assert!(status == 503 && again && why.contains("nothing was done"), "{status} {why}");
        assert_eq!(begun.elapsed().as_secs(), WITHIN.as_secs());
        // Nor is it done later.
        assert!(matches!(held.try_recv(), Some(ControlInput::Panic)));
        assert!(held.try_recv().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_told_apart_from_nothing_done() {
        let (inbox, mut held) = one();
        let begun = Instant::now();
        let (status, again, why) = said(ask(&inbox, refuse).await.unwrap_err()).await;
        assert!(status == 503 && again && why.contains("may still be done"), "{status} {why}");
        assert_eq!(begun.elapsed().as_secs(), WITHIN.as_secs());
        assert!(matches!(held.try_recv(), Some(ControlInput::Trust(..))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stops_is_not_waited_for() {
        let begun = Instant::now();
        let (inbox, held) = one();
        let asked = tokio::spawn(async move { ask(&inbox, refuse).await.unwrap_err() });
        tokio::task::yield_now().await;
        drop(held);
        assert!(said(asked.await.unwrap()).await.2.contains("midip2p up"));
        assert_eq!(begun.elapsed().as_secs(), 0);
    }
}
