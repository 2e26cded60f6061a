//! Links whose stream is lost and whose datagrams pass: they go on, for a while, until the same start of the peer
//! is connected again (`docs/protocol.md` § 6.14).
//!
//! ```text
//!  linked ──(the stream breaks)──▸ adrift ──(a new stream)──▸ linked     the same link, keys and numbers
//!                                    │
//!                                    └─(silence, a minute, bye, another start, no trust)──▸ down
//! ```
//!
//! A new stream is that of the old link if both hellos on it named that link. So each end knows from the two hellos
//! alone what the other makes of them; it is a new link otherwise, under ids drawn for this connection. What is left is
//! an end whose link went down after it had named it: it closes the connection, for the other may think that the
//! link goes on, and has gone on with it.
//!
//! Only a stream that proves the key of the peer counts; what somebody else says or breaks ends nothing here.

use super::heartbeat::{Heartbeat, Pulse};
use super::lifecycle::{Handshake, Linked, Proof};
use super::trust::Tie;
use super::{Action, ConnId, Control, Note};
use crate::bridge::ToData;
use crate::config::{
    ADRIFT_ASK_EVERY, ADRIFT_FOR, ADRIFT_SIGN_WITHIN, ALIVE_EVERY, STREAM_SILENT_FOR,
};
use crate::id::{LinkNo, NodeId};
use crate::time::LocalTime;
use crate::wire::{ByeReason, Hello, Living, hello};

/// A link without a stream.
#[derive(Clone, Debug)]
pub(super) struct Adrift {
    pub(super) linked: Linked,
    /// Since when.
    since: LocalTime,
    /// When its peer is asked for a sign of life, if none has come since then.
    ask_at: LocalTime,
}

impl Adrift {
    /// Whether a datagram has come since the stream was lost: not one that came before and is told of now.
    fn has_sign(&self) -> bool {
        self.linked.heartbeat.last_heard() > self.since + ALIVE_EVERY * 2
    }

    fn wake_at(&self) -> LocalTime {
        let sign = self.ask_at.min(self.since + ADRIFT_SIGN_WITHIN);
        let sign = if self.has_sign() { LocalTime::MAX } else { sign };
        sign.min(self.linked.heartbeat.wake_at()).min(self.since + ADRIFT_FOR)
    }

    /// Why it has ended, if it has.
    fn ends(&mut self, now: LocalTime) -> Option<&'static str> {
        if self.linked.heartbeat.pulse(now) == Pulse::Dead {
            Some("nothing was heard of it")
        } else if now - self.since >= ADRIFT_FOR {
            Some("it was not connected again in time")
        } else if now - self.since >= ADRIFT_SIGN_WITHIN && !self.has_sign() {
            Some("its connection was lost, and no datagram came either")
        } else {
            None
        }
    }
}

impl Control {
    /// The link with a node, whether it has a stream or not.
    pub(super) fn living(&self, node: NodeId) -> Option<&Linked> {
        let linked = self.conn_of(node).and_then(|conn| self.links.get(&conn));
        linked.or_else(|| self.adrift.get(&node).map(|a| &a.linked))
    }

    /// The link that the first hello to the other end of a stream names.
    pub(super) fn living_to_name(&self, proof: Proof) -> Option<Living> {
        let Proof::Key(node) = proof else { return None };
        self.living(node).filter(|l| l.can_drift()).map(Linked::named)
    }

    /// Why the other end of a stream is trusted though nobody confirmed it: there is a link with it that has come of
    /// that.
    pub(super) fn living_tie(&self, proof: Proof) -> Option<Tie> {
        let Proof::Key(node) = proof else { return None };
        self.living(node).and_then(|linked| linked.tie)
    }

    /// The stream of a link, if the connection is one, is lost. The link goes on if it can.
    pub(super) fn stream_lost(&mut self, now: LocalTime, conn: ConnId, why: &'static str) {
        let can_drift = self.links.get(&conn).is_some_and(Linked::can_drift);
        if !can_drift || self.stopping {
            return self.unlink(now, conn, false, why);
        }
        if let Some(node) = self.set_adrift(now, conn) {
            let note = Note::StreamLost(node, self.shown(node), why);
            self.actions.extend([Action::Note(note), Action::Changed]);
        }
    }

    /// Takes a link from its stream; its node.
    pub(super) fn set_adrift(&mut self, now: LocalTime, conn: ConnId) -> Option<NodeId> {
        let linked = self.links.remove(&conn)?;
        let node = linked.node;
        self.conns.remove(&node);
        self.stream_ended(now, &linked, false);
        self.actions.push_back(Action::Adrift(linked.link));
        self.bus.peer_adrift(node);
        self.adrift.insert(node, Adrift { linked, since: now, ask_at: now });
        self.ask_for_signs(now);
        Some(node)
    }

    /// Gives up streams that have been silent too long, unless so much is lost that they may go on. What is heard by datagram keeps such a link alive, and nothing
    /// else would end the stream of a peer that has another address now.
    pub(super) fn give_up_silent_streams(&mut self, now: LocalTime) {
        let links = self.links.iter().filter(|(_, l)| l.can_drift() && !l.lossy);
        let silent = links.filter(|(_, l)| now - l.stream_heard >= STREAM_SILENT_FOR);
        for conn in silent.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.actions.push_back(Action::Close(conn));
            self.stream_lost(now, conn, "nothing came by its connection, though datagrams do");
        }
    }

    pub(super) fn silent_wake_at(&self) -> impl Iterator<Item = LocalTime> {
        let links = self.links.values().filter(|l| l.can_drift() && !l.lossy);
        links.map(|l| l.stream_heard + STREAM_SILENT_FOR)
    }

    /// Whether nothing came by the stream of a link for longer than a heartbeat explains: who has lost it does not
    /// wait until this end notices.
    pub(super) fn has_stale_stream(&self, now: LocalTime, conn: ConnId) -> bool {
        let pause = self.config.heartbeat_every + self.config.heartbeat_every / 2;
        self.links.get(&conn).is_some_and(|l| now - l.stream_heard > pause)
    }

    /// Whether both hellos named the same link, so that both ends go on with it.
    fn is_agreed(handshake: &Handshake, hello: &Hello) -> bool {
        hello.features & hello::UNPAIRED == 0
            && handshake.living.is_some_and(|ours| hello.living == Some(ours.from_there()))
    }

    /// Whether the connection becomes the stream of a link that is there.
    pub(super) fn goes_on(&self, handshake: &Handshake, hello: &Hello) -> bool {
        let is_it = |l: &Linked| {
            Some(l.named()) == handshake.living
                && l.boot == hello.boot
                && handshake.proof == Proof::Key(l.node)
        };
        Self::is_agreed(handshake, hello) && self.living(hello.node).is_some_and(is_it)
    }

    /// Whether the link that both hellos named is here no longer: the other end may have gone on with it, so there
    /// is no other link on this connection.
    pub(super) fn is_too_late(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: &Hello,
    ) -> bool {
        let is_too_late = Self::is_agreed(handshake, hello) && !self.goes_on(handshake, hello);
        if is_too_late {
            self.farewell(conn, ByeReason::Other, "the link that was to go on has ended here");
            self.dialed_ended(now, handshake.dialed, handshake.address);
        }
        is_too_late
    }

    /// The connection becomes the stream of the link with that node, which has none.
    pub(super) fn go_on(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: Hello,
        version: u16,
    ) {
        let node = hello.node;
        let Some(Adrift { mut linked, .. }) = self.adrift.remove(&node) else { return };
        linked.address = handshake.address;
        linked.listens = handshake.address;
        linked.listens.set_port(hello.tcp_port);
        linked.dialed = handshake.dialed;
        linked.version = version;
        linked.heartbeat = Heartbeat::new(now, &self.config);
        linked.beat = None;
        linked.stream_heard = now;
        self.actions.push_back(Action::Resumed(conn, linked.link));
        self.links.insert(conn, linked);
        self.conns.insert(node, conn);
        self.forgive_trouble(handshake.address);
        self.bus.peer_back(node);
        let note = Note::StreamBack(node, self.shown(node));
        self.actions.extend([Action::Note(note), Action::Changed]);
        self.tell_panics(now, conn);
        self.take_hints(now, hello.peers);
        self.introduce(conn, &handshake.told);
    }

    /// A node with which there is a link without a stream says hello: as another start of itself, or as one that
    /// does not trust this node, it has that link no longer.
    pub(super) fn adrift_disowned(&mut self, now: LocalTime, hello: &Hello) {
        let Some(adrift) = self.adrift.get(&hello.node) else { return };
        if adrift.linked.boot != hello.boot {
            self.end_adrift(now, hello.node, false, "it has started anew");
        } else if hello.features & hello::UNPAIRED != 0 {
            self.end_adrift(now, hello.node, false, "it no longer trusts this node");
        }
    }

    /// A bye came instead of a hello.
    pub(super) fn adrift_dismissed(
        &mut self,
        now: LocalTime,
        handshake: &Handshake,
        reason: ByeReason,
    ) {
        let Proof::Key(node) = handshake.proof else { return };
        match reason {
            ByeReason::Stopping => self.end_adrift(now, node, true, "it stopped"),
            ByeReason::Refused => {
                self.end_adrift(now, node, true, "it no longer trusts this node");
            }
            _ => {}
        }
    }

    /// Datagrams of a link do not pass; if it has no stream either, it is none. While its peer is asked for a sign of life
    /// the answer decides: where some are lost, a few before may have been.
    pub(super) fn adrift_in_vain(&mut self, now: LocalTime, link: LinkNo) {
        let is_asked = |a: &Adrift| !a.has_sign() && now - a.since < ADRIFT_SIGN_WITHIN;
        let found = self.adrift.iter().find(|(_, a)| a.linked.link == link && !is_asked(a));
        if let Some(node) = found.map(|(node, _)| *node) {
            self.end_adrift(now, node, false, "neither its stream nor its datagrams pass");
        }
    }

    /// Ends the links without a stream of which nothing is heard, or which have had none for too long.
    pub(super) fn adrift_pulse(&mut self, now: LocalTime) {
        let adrift = self.adrift.iter_mut();
        let ended = adrift.filter_map(|(node, a)| a.ends(now).map(|why| (*node, why)));
        for (node, why) in ended.collect::<Vec<_>>() {
            self.end_adrift(now, node, false, why);
        }
        self.ask_for_signs(now);
    }

    /// Has the peers say something of which nothing came since their streams were lost.
    fn ask_for_signs(&mut self, now: LocalTime) {
        for adrift in self.adrift.values_mut().filter(|a| !a.has_sign() && a.ask_at <= now) {
            adrift.ask_at = now + ADRIFT_ASK_EVERY;
            // Nobody waits for this answer: that it comes is all.
            let ask = ToData::Probe { link: adrift.linked.link, token: 0 };
            self.actions.push_back(Action::Data(ask));
        }
    }

    pub(super) fn adrift_wake_at(&self) -> impl Iterator<Item = LocalTime> {
        self.adrift.values().map(Adrift::wake_at)
    }

    pub(super) fn adrift_stop(&mut self, now: LocalTime) {
        while let Some(node) = self.adrift.keys().next().copied() {
            self.end_adrift(now, node, true, "this node stops");
        }
    }

    /// Ends a link without a stream, if there is one with that node.
    pub(super) fn end_adrift(
        &mut self,
        now: LocalTime,
        node: NodeId,
        farewell: bool,
        why: &'static str,
    ) {
        if let Some(Adrift { linked, since, .. }) = self.adrift.remove(&node) {
            self.down(now, linked, since, farewell, why);
            self.actions.push_back(Action::Changed);
        }
    }

    /// How a peer is shown.
    fn shown(&self, node: NodeId) -> String {
        let name = self.living(node).map(|l| l.name.as_str()).unwrap_or_default();
        self.bus.display(node).unwrap_or(name).to_owned()
    }
}

#[cfg(test)]
mod tests;
