//! What is to outlive the node, and who waits until it is on disk.

use std::collections::BTreeMap;
use std::io;

use midip2p_proto::control::Action;
use midip2p_proto::control::routing::{RouteError, RouteId};
use midip2p_proto::control::session::SessionError;
use midip2p_proto::control::trust::TrustError;
use tokio::sync::oneshot;

use super::{ControlStage, Decided};
use crate::stages::persistence::{Save, What};

/// Whether something was written.
type Written = oneshot::Sender<io::Result<()>>;

/// What has changed and is not handed on to be kept, and who is to be answered.
#[derive(Default)]
pub(super) struct Keeping {
    pub(super) trusting: BTreeMap<u64, oneshot::Sender<Decided<(), TrustError>>>,
    pub(super) routing: BTreeMap<u64, oneshot::Sender<Decided<RouteId, RouteError>>>,
    pub(super) sessions: BTreeMap<u64, oneshot::Sender<Decided<(), SessionError>>>,
    trust_changed: bool,
    routes_changed: bool,
    sessions_changed: bool,
}

impl ControlStage {
    /// Carries out what has to do with what is kept.
    pub(super) fn keep(&mut self, action: Action) {
        match action {
            Action::TrustChanged => self.keeping.trust_changed = true,
            Action::RoutesChanged => self.keeping.routes_changed = true,
            Action::SessionsChanged => self.keeping.sessions_changed = true,
            Action::TrustDone(request, done) => {
                if let Some(answer) = self.keeping.trusting.remove(&request) {
                    let changed = self.keeping.trust_changed;
                    self.answer(answer, done, changed, Self::save_trusted);
                }
            }
            Action::RouteDone(request, done) => {
                if let Some(answer) = self.keeping.routing.remove(&request) {
                    let changed = self.keeping.routes_changed;
                    self.answer(answer, done, changed, Self::save_routes);
                }
            }
            Action::SessionDone(request, done) => {
                if let Some(answer) = self.keeping.sessions.remove(&request) {
                    let changed = self.keeping.sessions_changed;
                    self.answer(answer, done, changed, Self::save_sessions);
                }
            }
            _ => {}
        }
    }

    /// Answers whoever decided something, once it is on disk.
    fn answer<T: Send + 'static, E: Send + 'static>(
        &mut self,
        answer: oneshot::Sender<Decided<T, E>>,
        done: Result<T, E>,
        changed: bool,
        save: impl FnOnce(&mut Self, Option<Written>),
    ) {
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                let _ = answer.send(Decided::Refused(error));
                return;
            }
        };
        // Whoever is answered may look.
        self.publish();
        if !changed {
            let _ = answer.send(Decided::Done(done));
            return;
        }
        let (written, writing) = oneshot::channel();
        save(self, Some(written));
        tokio::spawn(async move {
            let gone = || Err(io::Error::other("too much waits to be written"));
            let _ = answer.send(match writing.await.unwrap_or_else(|_| gone()) {
                Ok(()) => Decided::Done(done),
                Err(error) => Decided::NotKept(done, error),
            });
        });
    }

    /// Hands on what has changed. Where too much waits to be written it stays so, until the next time.
    pub(super) fn save_what_changed(&mut self) {
        if self.keeping.trust_changed {
            self.save_trusted(None);
        }
        if self.keeping.routes_changed {
            self.save_routes(None);
        }
        if self.keeping.sessions_changed {
            self.save_sessions(None);
        }
    }

    fn save_trusted(&mut self, done: Option<Written>) {
        let peers = self.control.trusted();
        let what = What::Trusted(peers.map(|(node, trusted)| (node, trusted.clone())).collect());
        self.keeping.trust_changed = !self.hand_on(what, done);
    }

    fn save_routes(&mut self, done: Option<Written>) {
        let what = What::Routes(self.control.bus().kept_routes());
        self.keeping.routes_changed = !self.hand_on(what, done);
    }

    fn save_sessions(&mut self, done: Option<Written>) {
        let what = What::Sessions(self.control.bus().joined().cloned().collect());
        self.keeping.sessions_changed = !self.hand_on(what, done);
    }

    fn hand_on(&self, what: What, done: Option<Written>) -> bool {
        self.hands.persistence.try_send(Save { what, done }).is_ok()
    }
}
