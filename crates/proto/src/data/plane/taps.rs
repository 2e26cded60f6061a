//! The routes that people made: what they take, and what they let go of.

use super::{Plane, send};
use crate::bridge::{Endpoint, Tap};
use crate::data::output::Play;
use crate::data::realtime::history::Sent;
use crate::id::{LinkNo, PortId};
use crate::midi::Ump;
use crate::time::LocalTime;

impl Plane {
    pub(super) fn tap_add(&mut self, now: LocalTime, tap: Tap) {
        self.tap_remove(now, tap.id);
        if self.taps.add(tap).is_err() {
            self.counters.routes_full.add_one();
        }
    }

    pub(super) fn tap_remove(&mut self, now: LocalTime, id: PortId) {
        if let Some(tap) = self.taps.remove(id) {
            self.tap_release(now, &tap);
        }
    }

    /// A link will not come up again: what begins or ends behind it does not, either.
    pub(super) fn taps_forget(&mut self, now: LocalTime, link: LinkNo) {
        while let Some(tap) = self.taps.remove_of(link) {
            self.tap_release(now, &tap);
        }
    }

    /// A source went away.
    pub(super) fn taps_release(&mut self, now: LocalTime, source: Endpoint) {
        for n in 0..self.taps.of(source).len() {
            if let Some(tap) = self.taps.of(source).get(n).copied() {
                self.tap_release(now, &tap);
            }
        }
    }

    /// Lets go of what a route holds.
    fn tap_release(&mut self, now: LocalTime, tap: &Tap) {
        if tap.sink.link == LinkNo::LOCAL {
            // What still waits for a SysEx came before: else a note would begin behind its release.
            while tap.source.link == LinkNo::LOCAL
                && let Some(event) = self.local.take_event_of(tap.id)
            {
                self.dispatch(now, LinkNo::LOCAL, &event);
            }
            self.outputs.release(tap.holder(), Some(tap.sink.port));
        } else {
            self.release_at_peers(now, tap.id, Some(tap.sink));
        }
    }

    /// What a local source gave, by each of its routes that lets it through.
    pub(super) fn send_by_taps(
        &mut self,
        now: LocalTime,
        from: PortId,
        at: LocalTime,
        message: &Ump,
    ) {
        let source = Endpoint::local(from);
        for n in 0..self.taps.of(source).len() {
            let Some(tap) = self.taps.of(source).get(n).copied() else { return };
            let Some(message) = tap.filter.pass(message) else { continue };
            if tap.sink.link == LinkNo::LOCAL {
                self.count_passed(&tap);
                self.send_here(now, tap.id, tap.sink.port, at, message);
            } else if let Some(link) = self.links.get_mut(tap.sink.link) {
                let (from, to, after_bulk) = (tap.id, tap.sink.port, link.bulk_number(tap.id));
                send(link, &self.ports, Sent { from, to, after_bulk, at, message });
                self.count_passed(&tap);
            }
        }
    }

    /// What a peer's source gave, by each of the routes here that lets it through.
    pub(super) fn play_by_taps(&mut self, now: LocalTime, source: Endpoint, play: &Play) {
        for n in 0..self.taps.of(source).len() {
            let Some(tap) = self.taps.of(source).get(n).copied() else { return };
            if let Some(message) = tap.filter.pass(&play.message) {
                self.count_passed(&tap);
                let play = Play { message, source: tap.holder(), born: play.born };
                self.outputs.play(now, tap.sink.port, play);
            }
        }
    }

    pub(super) fn count_passed(&self, tap: &Tap) {
        if let Some(counters) = self.ports.get(usize::from(tap.id.0)) {
            counters.messages.add_one();
        }
    }
}
