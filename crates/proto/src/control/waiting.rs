//! Nodes that want to connect and are not trusted yet, by this node or by themselves: their connections stay
//! open while people compare a code (`docs/protocol.md` § 10.3).
//!
//! ```text
//!  hello, "you are not paired" ──▸        ◂── hello, "you are not paired"
//!  commitment ──▸                         ◂── commitment       `passphrase.rs`: what else may come
//!  nonce ──▸   once somebody asks for it  ◂── nonce              both show the code
//!  hello ──▸   once somebody confirmed    ◂── hello              both have come: a link
//! ```
//!
//! A nonce is said only when somebody here asks to compare: a node that says it to whoever comes tells somebody in
//! between, who comes again and again, what code would be shown, until two are the same.
//!
//! Nothing that is said meanwhile is heard but that, heartbeats, and the bye. At most one connection of a node
//! waits.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::discovery::{Refusal, Trouble};
use super::heartbeat::{Heartbeat, Pulse};
use super::lifecycle::Handshake;
use super::passphrase::Proving;
use super::strangers::machine;
use super::trust::{Rights, Tie};
use super::{Action, ConnId, Control, Note, PeerKind};
use crate::config::{WAITING_EACH, WAITING_MAX};
use crate::id::NodeId;
use crate::pairing::Code;
use crate::time::{LocalTime, Span};
use crate::wire::{self, Bye, ByeReason, Hello, Message, Pairing, hello};

/// A connection that is not a link yet because one end does not trust the other.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) handshake: Handshake,
    hello: Hello,
    version: u16,
    /// Whether this node trusts it, and has told it so.
    is_confirmed: bool,
    /// Whether it has proven that it has the same user key, and whether it has tried.
    is_kin: bool,
    kinship_came: bool,
    /// How far both are with their passphrases.
    pub(super) proving: Proving,
    heartbeat: Heartbeat,
    commitment: Option<[u8; 32]>,
    /// Whether somebody here asked to compare: then this node's nonce is said.
    is_asked: bool,
    code: Option<Code>,
    pub(super) since: LocalTime,
    /// It was refused too often to be asked about: it has until then to prove that it is of the same user.
    probation: Option<LocalTime>,
}

/// Connections that wait, or may turn out to be of the same user, at most.
const FRESH_MAX: usize = 4 * WAITING_MAX;

/// What somebody is told for whom there is no room.
const CROWDED: &str = "too many others wait to be confirmed";

impl Waiting {
    pub(super) fn name(&self) -> &str {
        &self.hello.name
    }

    pub(super) const fn node(&self) -> NodeId {
        self.hello.node
    }

    pub(super) const fn boot(&self) -> crate::id::BootId {
        self.hello.boot
    }

    pub(super) const fn code(&self) -> Option<Code> {
        self.code
    }

    pub(super) const fn kind(&self) -> PeerKind {
        if self.hello.features & hello::JSON_ONLY == 0 { PeerKind::Node } else { PeerKind::Client }
    }

    /// Whether it is that node, and not a client with its key.
    pub(super) fn is_node(&self, node: NodeId) -> bool {
        self.node() == node && self.kind() == PeerKind::Node
    }

    pub(super) const fn last_heard(&self) -> LocalTime {
        self.heartbeat.last_heard()
    }

    /// Whether this node trusts it.
    pub(super) const fn is_confirmed_here(&self) -> bool {
        self.is_confirmed
    }

    /// Whether people are shown it.
    pub(super) const fn is_shown(&self) -> bool {
        self.probation.is_none()
    }

    pub(super) const fn is_kin(&self) -> bool {
        self.is_kin
    }

    /// Whether it is one of those that somebody is to decide about: it has had its chance to show that it is of the
    /// same user or session, or will not.
    fn counts(&self) -> bool {
        let is_over = self.commitment.is_some() && !self.proving.is_open();
        !self.is_confirmed && (is_over || self.kind() == PeerKind::Client)
    }

    /// Whether it has not even begun to pair in the time that a hello has.
    fn dawdles(&self, now: LocalTime, within: Span) -> bool {
        let has_begun = self.commitment.is_some() || self.kind() == PeerKind::Client;
        !self.is_confirmed && !has_begun && now - self.since > within
    }

    /// Whether it trusts this node. A client does: it chose whom it dialled.
    pub(super) fn is_confirmed_there(&self) -> bool {
        self.hello.features & hello::UNPAIRED == 0 || self.kind() == PeerKind::Client
    }
}

impl Control {
    /// The connection of a node that waits.
    pub(super) fn waiting_conn(&self, node: NodeId) -> Option<ConnId> {
        self.waiting.iter().find(|(_, w)| w.node() == node).map(|(conn, _)| *conn)
    }

    /// Whether a node needs no further connection: it is linked, or waits to be.
    pub(super) fn has_conn(&self, node: NodeId) -> bool {
        self.conn_of(node).is_some() || self.waiting.values().any(|w| w.is_node(node))
    }

    /// The hello fits, but one end does not trust the other: the connection waits.
    pub(super) fn wait(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: Handshake,
        hello: Hello,
        version: u16,
    ) {
        let (node, from) = (hello.node, handshake.address);
        let is_kin = handshake.tie == Some(Tie::User);
        let is_trusted = handshake.tie.is_some() || self.rights_of(handshake.proof).is_some();
        let is_too_much = !is_trusted && self.trust.must_wait(now, node, from);
        let has_user = handshake.pairing.as_ref().is_some_and(|keys| keys.kinship().is_some());
        if is_too_much && !has_user {
            self.not_asked_about(now, conn, &handshake);
            return;
        }
        if let Some(other) = self.waiting_conn(node) {
            self.farewell(other, ByeReason::DuplicateLink, "there is another connection");
            self.waits_no_more(now, other);
        }
        self.make_room_to_wait(now);
        let is_counted = !is_trusted && hello.features & hello::JSON_ONLY != 0;
        self.absent.remove(&node);
        let has_said_so = handshake.trusted;
        let heartbeat = Heartbeat::new(now, &self.config);
        let waiting = Waiting {
            handshake,
            hello,
            version,
            is_confirmed: is_trusted && has_said_so,
            is_kin,
            kinship_came: false,
            proving: Proving::default(),
            heartbeat,
            commitment: None,
            is_asked: false,
            code: None,
            since: now,
            probation: is_too_much.then(|| now + self.config.hello_within),
        };
        self.waiting.insert(conn, waiting);
        self.begin_to_pair(now, conn);
        self.actions.extend([Action::Mute(conn, !is_trusted), Action::Changed]);
        if is_counted && !self.has_room_to_wait(now, conn, from) {
            return;
        }
        if is_trusted && !has_said_so {
            // It was confirmed while its hello was on the way.
            self.confirm(now, conn);
        }
    }

    /// Says all that needs nobody's word, the commitment last: whoever has that has all.
    fn begin_to_pair(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.waiting.get(&conn) else { return };
        let Some(keys) = &waiting.handshake.pairing else { return };
        let (kinship, commitment) = (keys.kinship(), keys.commitment());
        let say = |step| Action::Send(conn, Message::Pairing(step));
        self.actions.extend(kinship.map(Pairing::Kinship).map(say));
        self.say_element(now, conn);
        self.actions.push_back(say(Pairing::Commitment(commitment)));
    }

    /// One that waits was refused too often.
    pub(super) fn turn_away(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(waiting) = self.take_waiting(now, conn) {
            self.actions.push_back(Action::Mute(conn, false));
            self.not_asked_about(now, conn, &waiting.handshake);
        }
    }

    /// It was refused too often.
    fn not_asked_about(&mut self, now: LocalTime, conn: ConnId, handshake: &Handshake) {
        self.farewell(conn, ByeReason::Refused, "refused too often: it is not asked about now");
        self.refuse(now, handshake, Trouble::Unwanted.into());
    }

    /// One more may begin to wait, if need be because one goes that has said least. Who has the same user key has
    /// said so in a moment, however many nodes of a user come at once; only who has not is counted then.
    fn make_room_to_wait(&mut self, now: LocalTime) {
        if self.waiting.len() < FRESH_MAX {
            return;
        }
        let others = || self.waiting.iter().filter(|(_, w)| !w.is_confirmed && !w.is_asked);
        let mut each: BTreeMap<IpAddr, (usize, Reverse<ConnId>)> = BTreeMap::new();
        for (conn, waiting) in others() {
            let at = machine(waiting.handshake.address);
            each.entry(at).or_insert((0, Reverse(*conn))).0 += 1;
        }
        // Of the machine that has most: who floods takes no place of those who wait for somebody's word.
        let most = each.iter().max_by_key(|(_, count)| **count).map(|(at, _)| *at);
        let oldest = others().find(|(_, w)| Some(machine(w.handshake.address)) == most);
        if let Some(oldest) = oldest.map(|(conn, _)| *conn) {
            self.crowd_out(now, oldest);
        }
    }

    /// Whether one that is not trusted has room: if need be the oldest of its machine goes, or of the one that has
    /// most, but none that somebody asked about. One that was begun here, because somebody announced it, takes
    /// nobody's place, and is tried later.
    fn has_room_to_wait(&mut self, now: LocalTime, conn: ConnId, address: SocketAddr) -> bool {
        let others = || self.waiting.iter().filter(move |(other, w)| **other != conn && w.counts());
        let of = |at| others().filter(move |(_, w)| machine(w.handshake.address) == at);
        let own = machine(address);
        let crowded = if of(own).count() >= WAITING_EACH {
            Some(own)
        } else if others().count() >= WAITING_MAX {
            let places = others().map(|(conn, w)| (machine(w.handshake.address), conn));
            places.max_by_key(|(at, conn)| (of(*at).count(), Reverse(*conn))).map(|(at, _)| at)
        } else {
            None
        };
        let Some(crowded) = crowded else { return true };
        let oldest = of(crowded).find(|(_, w)| !w.is_asked).map(|(conn, _)| *conn);
        let dialed = self.waiting.get(&conn).is_some_and(|w| w.handshake.dialed);
        match oldest.filter(|_| !dialed) {
            Some(oldest) => {
                self.crowd_out(now, oldest);
                true
            }
            None => {
                if let Some(waiting) = self.take_waiting(now, conn) {
                    self.farewell(conn, ByeReason::Other, CROWDED);
                    self.actions.push_back(Action::Mute(conn, false));
                    self.refuse(now, &waiting.handshake, Trouble::WaitingFull.into());
                }
                false
            }
        }
    }

    fn crowd_out(&mut self, now: LocalTime, conn: ConnId) {
        self.farewell(conn, ByeReason::Other, CROWDED);
        self.waits_no_more(now, conn);
    }

    /// Forgets a connection that waits, if it is one.
    pub(super) fn waits_no_more(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.take_waiting(now, conn) else { return };
        self.actions.push_back(Action::Mute(conn, false));
        self.dialed_ended(now, waiting.handshake.dialed, waiting.handshake.address);
        self.actions.push_back(Action::Changed);
    }

    /// Something came on a connection that waits.
    pub(super) fn waiting_message(&mut self, now: LocalTime, conn: ConnId, message: Message<'_>) {
        self.waiting_heard(now, conn);
        match message {
            Message::Hello(hello) => self.hello_again(now, conn, hello),
            Message::Pairing(Pairing::Kinship(proof)) => self.kinship(now, conn, &proof),
            Message::Pairing(Pairing::Commitment(hash)) => self.commitment(now, conn, hash),
            Message::Pairing(Pairing::Nonce(nonce)) => self.nonce(now, conn, &nonce),
            Message::Pairing(Pairing::Element(element)) => self.element(now, conn, &element),
            Message::Pairing(Pairing::Accord(accord)) => self.accord(now, conn, &accord),
            Message::Bye(bye) => self.waiting_bye(now, conn, bye),
            _ => {}
        }
    }

    pub(super) fn waiting_heard(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(waiting) = self.waiting.get_mut(&conn) {
            waiting.heartbeat.heard(now);
        }
    }

    /// The other end says its hello again, once, when it has come to trust this node.
    fn hello_again(&mut self, now: LocalTime, conn: ConnId, hello: Hello) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        let before = &waiting.hello;
        let who = |hello: &Hello| (hello.node, hello.boot, hello.link, hello.features);
        let is_confirmation = before.features & hello::UNPAIRED != 0
            && (hello.node, hello.boot, hello.link, hello.features | hello::UNPAIRED)
                == who(before)
            && hello.features & hello::UNPAIRED == 0;
        if !is_confirmation {
            self.cheated(now, conn, "its second hello is not what it has to be");
            return;
        }
        waiting.hello = hello;
        self.actions.push_back(Action::Changed);
        self.pair_up(now, conn);
    }

    fn kinship(&mut self, now: LocalTime, conn: ConnId, proof: &[u8; 32]) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        if std::mem::replace(&mut waiting.kinship_came, true) {
            self.cheated(now, conn, "it proves its user twice");
            return;
        }
        waiting.is_kin = waiting.handshake.pairing.as_ref().is_some_and(|keys| keys.is_kin(proof));
        if waiting.is_kin {
            waiting.probation = None;
            self.confirm(now, conn);
        }
    }

    /// The other end is bound to its nonce: now it may know this node's, if somebody asks.
    fn commitment(&mut self, now: LocalTime, conn: ConnId, hash: [u8; 32]) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        if waiting.commitment.replace(hash).is_some() {
            self.cheated(now, conn, "it commits itself twice");
            return;
        }
        if waiting.probation.is_some() {
            // It would have proven before that it is of the same user.
            self.turn_away(now, conn);
            return;
        }
        let (address, here) = (waiting.handshake.address, !waiting.is_confirmed);
        let (node, name) = (waiting.node(), waiting.hello.name.clone());
        let is_proving = waiting.proving.is_open();
        let is_said = waiting.tie().is_some() || is_proving;
        if here && !is_proving && !self.has_room_to_wait(now, conn, address) {
            return;
        }
        self.say_nonce(conn);
        // A node of the same user or session is a peer before anybody could read it.
        if !is_said && self.is_news(address, Trouble::Unpaired) {
            self.actions.push_back(Action::Note(Note::Waits { node, name, address, here }));
        }
    }

    /// Somebody here wants to compare codes with a node that waits.
    pub(super) fn ask(&mut self, conn: ConnId) {
        if let Some(waiting) = self.waiting.get_mut(&conn)
            && !std::mem::replace(&mut waiting.is_asked, true)
        {
            self.say_nonce(conn);
        }
    }

    /// Says the nonce, where somebody asked and the other end is bound to its own.
    fn say_nonce(&mut self, conn: ConnId) {
        let Some(waiting) = self.waiting.get(&conn) else { return };
        let keys = waiting.handshake.pairing.as_ref();
        if let Some(keys) = keys.filter(|_| waiting.is_asked && waiting.commitment.is_some()) {
            let nonce = Message::Pairing(Pairing::Nonce(keys.nonce()));
            self.actions.push_back(Action::Send(conn, nonce));
        }
    }

    fn nonce(&mut self, now: LocalTime, conn: ConnId, nonce: &[u8; 32]) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        let keys = waiting.handshake.pairing.as_ref().filter(|_| waiting.code.is_none());
        let code = keys.zip(waiting.commitment).and_then(|(keys, hash)| keys.code(&hash, nonce));
        if code.is_none() {
            self.cheated(now, conn, "the nonce is not the one that was committed to");
            return;
        }
        waiting.code = code;
        self.actions.push_back(Action::Changed);
    }

    /// It broke the rules of pairing.
    pub(super) fn cheated(&mut self, now: LocalTime, conn: ConnId, text: &str) {
        let Some(waiting) = self.take_waiting(now, conn) else { return };
        self.actions.push_back(Action::Mute(conn, false));
        self.farewell(conn, ByeReason::ProtocolError, text);
        self.refuse(now, &waiting.handshake, Trouble::OtherKey.into());
    }

    fn waiting_bye(&mut self, now: LocalTime, conn: ConnId, bye: Bye) {
        self.actions.push_back(Action::Close(conn));
        if bye.reason != ByeReason::Refused {
            self.waits_no_more(now, conn);
            return;
        }
        let Some(waiting) = self.take_waiting(now, conn) else { return };
        self.actions.push_back(Action::Mute(conn, false));
        if waiting.proving.is_spent {
            self.other_passphrase(now, &waiting, bye.text);
            return;
        }
        let refusal = Refusal { trouble: Trouble::Dismissed(bye.reason), said: bye.text };
        self.refuse(now, &waiting.handshake, refusal);
    }

    /// This node trusts the other end from now on: it is told so by a whole hello.
    pub(super) fn confirm(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return };
        waiting.probation = None;
        if !std::mem::replace(&mut waiting.is_confirmed, true) {
            let (address, local_link) = (waiting.handshake.address, waiting.handshake.local_link);
            let peers = self.hints_for_hello(address);
            if let Some(waiting) = self.waiting.get_mut(&conn) {
                waiting.handshake.told = peers.iter().map(|hint| hint.node).collect();
            }
            self.say_hello(conn, local_link, Some(peers));
            self.actions.push_back(Action::Mute(conn, false));
        }
        self.actions.push_back(Action::Changed);
        self.pair_up(now, conn);
    }

    /// What a node that waits may do; `None`: it is not trusted.
    fn rights_of_waiting(&self, waiting: &Waiting) -> Option<Rights> {
        let proof = waiting.handshake.proof;
        self.rights_of(proof).or_else(|| waiting.tie().map(|_| Rights::ALL))
    }

    /// Both ends trust each other: the connection is a link, or a client.
    fn pair_up(&mut self, now: LocalTime, conn: ConnId) {
        let Some(waiting) = self.waiting.get(&conn) else { return };
        if !waiting.is_confirmed || !waiting.is_confirmed_there() {
            return;
        }
        // As it is now, not as it was when it was confirmed.
        let Some(rights) = self.rights_of_waiting(waiting) else { return };
        let Some(waiting) = self.take_waiting(now, conn) else { return };
        let (is_client, tie) = (waiting.kind() == PeerKind::Client, waiting.tie());
        let Waiting { handshake, hello, version, .. } = waiting;
        if is_client && rights != Rights::ALL {
            let text = "a program may do everything here or nothing, and this node may not do all";
            self.farewell(conn, ByeReason::Refused, text);
            self.refuse(now, &handshake, Trouble::Unwanted.into());
        } else if is_client {
            self.client_up(now, conn, &handshake, hello, version);
        } else {
            self.link(now, conn, &handshake, hello, version, (rights, tie));
        }
    }

    pub(super) fn waiting_pulse(&mut self, now: LocalTime) {
        let pulses: Vec<(ConnId, Pulse)> =
            self.waiting.iter_mut().map(|(conn, w)| (*conn, w.heartbeat.pulse(now))).collect();
        let within = self.config.hello_within;
        let dawdles = |control: &Self, conn| {
            control.waiting.get(&conn).is_some_and(|w: &Waiting| w.dawdles(now, within))
        };
        let late = |control: &Self, conn| {
            let probation = control.waiting.get(&conn).and_then(|w: &Waiting| w.probation);
            probation.is_some_and(|until| until <= now)
        };
        for (conn, pulse) in pulses {
            match pulse {
                Pulse::Quiet => {}
                Pulse::Beat if dawdles(self, conn) => {
                    self.farewell(conn, ByeReason::ProtocolError, "no commitment came in time");
                    self.waits_no_more(now, conn);
                }
                Pulse::Beat if late(self, conn) => {
                    self.turn_away(now, conn);
                }
                Pulse::Beat if self.proving_pulse(now, conn, within) => {}
                Pulse::Beat => {
                    let beat = wire::Heartbeat { sent: now, echo: None };
                    self.actions.push_back(Action::Send(conn, Message::Heartbeat(beat)));
                }
                Pulse::Dead => {
                    self.actions.push_back(Action::Close(conn));
                    self.waits_no_more(now, conn);
                }
            }
        }
    }

    pub(super) fn waiting_wake_at(&self) -> impl Iterator<Item = LocalTime> {
        self.waiting.values().map(|waiting| waiting.heartbeat.wake_at())
    }

    pub(super) fn waiting_stop(&mut self) {
        for conn in std::mem::take(&mut self.waiting).into_keys() {
            self.farewell(conn, ByeReason::Stopping, "the node stops");
        }
    }
}

#[cfg(test)]
mod tests;
