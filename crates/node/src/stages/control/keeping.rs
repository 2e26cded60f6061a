//! What is to outlive the node, and who waits until it is on disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use midip2p_proto::control::Action;
use midip2p_proto::control::routing::{RouteError, RouteId};
use midip2p_proto::control::session::SessionError;
use midip2p_proto::control::trust::TrustError;
use midip2p_proto::time::{LocalTime, Span};
use tokio::sync::oneshot;

use super::{ControlStage, Decided};
use crate::os::clock;
use crate::stages::persistence::{Save, What};

/// After so long what the disk did not take is written again.
const AGAIN_AFTER: Span = Span::from_s(5);

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
    /// Whether the disk did not take something, and when it is tried again.
    unwritten: Arc<AtomicBool>,
    try_at: LocalTime,
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
        let unwritten = Arc::clone(&self.keeping.unwritten);
        tokio::spawn(async move {
            let gone = || Err(io::Error::other("too much waits to be written"));
            let _ = answer.send(match writing.await.unwrap_or_else(|_| gone()) {
                Ok(()) => Decided::Done(done),
                Err(error) => {
                    unwritten.store(true, Relaxed);
                    Decided::NotKept(done, error)
                }
            });
        });
    }

    /// Hands on what has changed. Where too much waits to be written it stays so, until the next time.
    pub(super) fn save_what_changed(&mut self) {
        let now = clock::now();
        if now >= self.keeping.try_at && self.keeping.unwritten.swap(false, Relaxed) {
            // Nobody waits for it any more; if it fails again the stage says so.
            self.keeping.try_at = now + AGAIN_AFTER;
            self.save_again();
        }
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

    /// Writes all that is kept, since the disk did not take some of it.
    fn save_again(&mut self) {
        let saves = [Self::save_trusted, Self::save_routes, Self::save_sessions];
        for save in saves {
            let (written, writing) = oneshot::channel();
            save(self, Some(written));
            let unwritten = Arc::clone(&self.keeping.unwritten);
            tokio::spawn(async move {
                if !matches!(writing.await, Ok(Ok(()))) {
                    unwritten.store(true, Relaxed);
                }
            });
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
