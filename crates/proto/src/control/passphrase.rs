//! Nodes that prove to each other that they hold the passphrase of one session, while they wait
//! (`docs/protocol.md` § 10.3).
//!
//! ```text
//!          dialler                               dialled
//!  element, commitment ──▸               ◂── element, commitment
//!  accord ──▸           spends a guess       is it right? if not, that was a guess
//!  is it right?                          ◂── accord, only then
//!  hello ──▸                             ◂── hello              both have come: a link
//! ```
//!
//! Nobody can tell a passphrase by an element, whatever it chose for its own: it can tell by an accord whether *one*
//! guess was right. So whoever says the first accord has let the other have a guess, which is taken back once the
//! other's comes and is right; the one that was dialled says nothing until it has seen a right one. Guesses are
//! counted against the node and its machine as refusals are, and all of them together.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::discovery::{Refusal, Trouble};
use super::strangers::machine;
use super::trust::Tie;
use super::waiting::Waiting;
use super::{Action, ConnId, Control};
use crate::config::{GUESSES_MAX, GUESSES_WITHIN, REFUSALS_MAX};
use crate::id::NodeId;
use crate::time::{LocalTime, Span};
use crate::wire::{ByeReason, Message, Pairing};

/// How far two ends of a connection are with their passphrases.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proving {
    /// Whether this node's element was said.
    is_said: bool,
    /// Whether the other's came, and whether it is one by which there are accords.
    element_came: bool,
    is_agreed: bool,
    /// Whether the other's accord came.
    accord_came: bool,
    /// Whether this node has said an accord that the other has not answered with a right one.
    pub(super) is_spent: bool,
    /// Whether the other's accord was right.
    pub(super) is_right: bool,
    /// When both elements were there: an accord follows at once, or never.
    since: Option<LocalTime>,
}

impl Proving {
    /// Whether both have begun, and it is not known yet what it comes to.
    pub(super) const fn is_open(&self) -> bool {
        self.since.is_some() && !self.is_right
    }
}

/// Guesses that others had lately.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    had: VecDeque<(LocalTime, NodeId)>,
    wrong: u64,
}

impl Guesses {
    /// Whether one more may be had.
    fn has_room(&self, now: LocalTime) -> bool {
        let counts = |(at, _): &&(LocalTime, NodeId)| now - *at < GUESSES_WITHIN;
        self.had.iter().filter(counts).count() < GUESSES_MAX
    }

    fn spend(&mut self, now: LocalTime, node: NodeId) {
        if self.had.len() >= GUESSES_MAX {
            self.had.pop_front();
        }
        self.had.push_back((now, node));
    }

    /// What that node had were no guesses, by whichever of its connections: it knows it.
    fn take_back(&mut self, node: NodeId) {
        self.had.retain(|(_, had)| *had != node);
    }
}

impl Control {
    /// How often a passphrase was not that of this node, since it began.
    #[must_use]
    pub const fn wrong_passphrases(&self) -> u64 {
        self.guesses.wrong
    }

    /// Says this node's element, if it has a passphrase and the other may have a guess.
    pub(super) fn say_element(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.waiting.get(&conn) else { return };
        let is_idle = !waiting.proving.is_said && !waiting.is_kin() && waiting.is_shown();
        let (node, from) = (waiting.node(), waiting.handshake.address);
        // Whoever is listed, too: that it is trusted does not tell it the passphrase.
        if !is_idle || self.trust.must_wait(now, node, from) || !self.guesses.has_room(now) {
            return;
        }
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        let Some(element) = waiting.handshake.pairing.as_mut().and_then(|keys| keys.element())
        else {
            return;
        };
        waiting.proving.is_said = true;
        self.actions.push_back(Action::Send(conn, Message::Pairing(Pairing::Element(element))));
        self.both_began(now, conn);
    }

    /// The other end's element came.
    pub(super) fn element(&mut self, now: LocalTime, conn: ConnId, element: &[u8; 32]) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        if !waiting.handshake.pairing.as_ref().is_some_and(|keys| keys.has_passphrase()) {
            return;
        }
        if std::mem::replace(&mut waiting.proving.element_came, true) {
            self.cheated(now, conn, "it says its element twice");
            return;
        }
        // Of the same user, it needs no other proof; refused too often, it has none.
        let is_heard = !waiting.is_kin() && waiting.is_shown();
        let keys = waiting.handshake.pairing.as_mut().filter(|_| is_heard);
        let Some(keys) = keys else { return };
        if !keys.agree(element) {
            self.cheated(now, conn, "its element is none");
            return;
        }
        waiting.proving.is_agreed = true;
        self.both_began(now, conn);
    }

    /// If both elements are there: the end that began the connection says its accord first.
    fn both_began(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        if !waiting.proving.is_said || !waiting.proving.is_agreed {
            return;
        }
        waiting.proving.since = Some(now);
        if !waiting.handshake.dialed {
            return;
        }
        let (node, from) = (waiting.node(), waiting.handshake.address);
        if self.trust.must_wait(now, node, from) {
            self.turn_away(now, conn);
            return;
        }
        if !self.guesses.has_room(now) || self.open_guesses_at(from) >= REFUSALS_MAX {
            self.no_more_guesses(now, conn);
            return;
        }
        self.guesses.spend(now, node);
        if let Some(waiting) = self.waiting.get_mut(&conn) {
            waiting.proving.is_spent = true;
        }
        self.say_accord(conn);
    }

    /// Guesses that a machine may be having now.
    fn open_guesses_at(&self, from: SocketAddr) -> u32 {
        let is_one =
            |w: &&Waiting| w.proving.is_spent && machine(w.handshake.address) == machine(from);
        u32::try_from(self.waiting.values().filter(is_one).count()).unwrap_or(u32::MAX)
    }

    fn say_accord(&mut self, conn: ConnId) {
        let waiting = self.waiting.get(&conn);
        let keys = waiting.and_then(|w| w.handshake.pairing.as_ref());
        if let Some(accord) = keys.and_then(|keys| keys.accord()) {
            self.actions.push_back(Action::Send(conn, Message::Pairing(Pairing::Accord(accord))));
        }
    }

    /// The other end's accord came.
    pub(super) fn accord(&mut self, now: LocalTime, conn: ConnId, accord: &[u8; 32]) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        if !waiting.handshake.pairing.as_ref().is_some_and(|keys| keys.has_passphrase()) {
            return;
        }
        if std::mem::replace(&mut waiting.proving.accord_came, true) {
            self.cheated(now, conn, "it says its accord twice");
            return;
        }
        let (proving, dialed) = (waiting.proving, waiting.handshake.dialed);
        if waiting.is_kin() || !waiting.is_shown() {
            return;
        }
        if !proving.is_open() {
            self.cheated(now, conn, "its accord comes before both elements");
            return;
        }
        let (node, from) = (waiting.node(), waiting.handshake.address);
        if !dialed && self.trust.must_wait(now, node, from) {
            self.turn_away(now, conn);
            return;
        }
        if !dialed && !self.guesses.has_room(now) {
            self.no_more_guesses(now, conn);
            return;
        }
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        let keys = waiting.handshake.pairing.as_ref();
        if !keys.is_some_and(|keys| keys.is_accord(accord)) {
            if !dialed {
                self.guesses.spend(now, node);
                waiting.proving.is_spent = true;
            }
            self.guessed_wrong(now, conn);
            return;
        }
        waiting.proving.is_right = true;
        waiting.proving.is_spent = false;
        let (node, from) = (waiting.node(), waiting.handshake.address);
        self.guesses.take_back(node);
        self.trust.pardon(node, from);
        self.discovery.pardon(now, node);
        if !dialed {
            self.say_accord(conn);
        }
        self.confirm(now, conn);
    }

    /// The passphrase of the other end is not that of this node, or it walked away with an accord.
    fn guessed_wrong(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.take_waiting(now, conn) else { return };
        self.actions.push_back(Action::Mute(conn, false));
        self.farewell(conn, ByeReason::Refused, "the passphrase here is another");
        self.other_passphrase(now, &waiting, String::new());
    }

    /// A node has another passphrase: it is said, and not dialled by whatever address, which would be a guess more.
    pub(super) fn other_passphrase(&mut self, now: LocalTime, waiting: &Waiting, said: String) {
        let refusal = Refusal { trouble: Trouble::OtherPassphrase, said };
        self.discovery.refused_node(now, waiting.node(), &refusal);
        self.refuse(now, &waiting.handshake, refusal);
    }

    /// Others have had so many guesses that nobody gets one for a while.
    fn no_more_guesses(&mut self, now: LocalTime, conn: ConnId) {
        let text = "too many wrong passphrases came to this node: again in a minute";
        self.farewell(conn, ByeReason::Other, text);
        self.waits_no_more(now, conn);
    }

    /// A connection waits no more, whatever comes of it. Who goes while a guess is open has had it.
    pub(super) fn take_waiting(&mut self, now: LocalTime, conn: ConnId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&conn)?;
        if waiting.proving.is_spent {
            self.guesses.wrong += 1;
            self.trust.refused(now, waiting.node(), waiting.handshake.address);
        }
        Some(waiting)
    }

    /// What the time asks for of one that waits; whether it goes.
    pub(super) fn proving_pulse(&mut self, now: LocalTime, conn: ConnId, within: Span) -> bool {
        self.say_element(now, conn);
        let Some(waiting) = self.waiting.get(&conn) else { return true };
        let is_late = waiting.proving.since.is_some_and(|since| now - since > within);
        if !is_late || !waiting.proving.is_open() {
            return false;
        }
        if waiting.proving.is_spent {
            self.guessed_wrong(now, conn);
        } else {
            self.farewell(conn, ByeReason::ProtocolError, "no accord came in time");
            self.waits_no_more(now, conn);
        }
        true
    }
}

impl Waiting {
    /// Why it is trusted, though nobody confirmed it.
    pub(super) const fn tie(&self) -> Option<Tie> {
        if self.is_kin() {
            Some(Tie::User)
        } else if self.proving.is_right {
            Some(Tie::Passphrase)
        } else {
            self.handshake.tie
        }
    }
}
