//! Signs of life: what is heard of peers, and what they hear of this node. The part of [`Control`] that happens a hundred
//! times a second in a large mesh, and changes little.

use super::heartbeat::Pulse;
use super::{Action, ConnId, Control, Input, Note};
use crate::bridge::ToControl;
use crate::config::HEARTBEATS_TOGETHER;
use crate::id::LinkNo;
use crate::time::LocalTime;
use crate::wire::Message;

impl Control {
    /// Takes what changes nothing but what is known of a peer's life and clock; anything else is given back. A hundred
    /// peers give some hundred of these a second.
    pub(super) fn take_sign<'a>(&mut self, now: LocalTime, input: Input<'a>) -> Option<Input<'a>> {
        match input {
            Input::Message(conn, Message::Heartbeat(beat)) if self.links.contains_key(&conn) => {
                self.heartbeat(now, conn, &beat);
            }
            Input::Message(conn, Message::Clock(word)) if self.links.contains_key(&conn) => {
                self.clock_said(now, conn, word);
            }
            Input::Heard(conn) => self.heard(now, conn),
            Input::Data(ToControl::Alive { link, lossy }) => self.alive(now, link, lossy),
            Input::Data(ToControl::Compared { link, sample }) => {
                self.clock_compared(now, link, sample);
            }
            other => return Some(other),
        }
        None
    }

    /// Something came by a connection.
    pub(super) fn heard(&mut self, now: LocalTime, conn: ConnId) {
        if let Some(linked) = self.links.get_mut(&conn) {
            linked.heard_by_stream(now);
        }
        self.client_heard(now, conn);
        self.waiting_heard(now, conn);
    }

    /// A genuine datagram came by a link.
    pub(super) fn alive(&mut self, now: LocalTime, link: LinkNo, lossy: bool) {
        let adrift = self.adrift.values_mut().map(|a| &mut a.linked);
        if let Some(linked) = self.links.values_mut().chain(adrift).find(|l| l.link == link) {
            linked.heartbeat.heard(now);
            (linked.datagram_came, linked.lossy) = (true, lossy);
        }
    }

    /// Datagrams of a link do not pass, or pass again.
    pub(super) fn degraded(&mut self, now: LocalTime, link: LinkNo, degraded: bool) {
        if degraded {
            self.adrift_in_vain(now, link);
        }
        if let Some(linked) = self.links.values_mut().find(|l| l.link == link) {
            linked.degraded = degraded;
            let note = Note::Degraded(linked.node, linked.name.clone(), degraded);
            self.actions.push_back(Action::Note(note));
        }
    }

    /// A heartbeat of a peer came.
    pub(super) fn heartbeat(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        beat: &crate::wire::Heartbeat,
    ) {
        let Some(linked) = self.links.get_mut(&conn) else { return };
        linked.heard_by_stream(now);
        linked.beat = Some(beat.sent);
        let follows = linked.heartbeat.follow(now);
        self.actions.extend(beat.echo.map(|echo| Action::Proven(conn, echo)));
        if follows {
            self.beat(now, conn);
        }
    }

    pub(super) fn beat(&mut self, now: LocalTime, conn: ConnId) {
        self.say_clock(now, conn);
        let echo = self.links.get(&conn).and_then(|l| l.beat);
        let beat = crate::wire::Heartbeat { sent: now, echo };
        self.actions.push_back(Action::Send(conn, Message::Heartbeat(beat)));
    }

    /// What the time asks for of each link. Heartbeats leave several at a time: with a hundred links the node
    /// would else wake up a hundred times a second.
    pub(super) fn pulses(&mut self, now: LocalTime) -> Vec<(ConnId, Pulse)> {
        let links = self.links.iter_mut();
        let mut pulses: Vec<_> = links.map(|(c, l)| (*c, l.heartbeat.pulse(now))).collect();
        if pulses.iter().any(|(_, pulse)| *pulse == Pulse::Beat) {
            let mut room = HEARTBEATS_TOGETHER;
            for ((_, pulse), linked) in pulses.iter_mut().zip(self.links.values_mut()) {
                if room > 0 && *pulse == Pulse::Quiet {
                    *pulse = linked.heartbeat.pulse_with_others(now);
                    room -= usize::from(*pulse == Pulse::Beat);
                }
            }
        }
        pulses
    }
}
