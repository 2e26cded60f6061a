//! Bulk messages in the data plane: pieces of them out of local sources, whole ones into outputs.

use super::Plane;
use crate::bridge::{BulkPiece, Endpoint};
use crate::config::BULK_PIECES;
use crate::data::bulk::{Delivery, following};
use crate::data::classify::extent;
use crate::data::filter::Kinds;
use crate::data::playout;
use crate::id::{LinkNo, PortId};
use crate::midi::Ump;
use crate::seq::SeqNo;
use crate::time::LocalTime;

impl Plane {
    /// A bulk message came whole by a link (or, by the local loop, from a source of this node).
    ///
    /// Realtime-safe: yes
    pub fn handle_bulk(&mut self, now: LocalTime, link: LinkNo, delivery: Delivery) {
        let source = Endpoint::remote(link, delivery.from);
        let near = match self.links.get(link) {
            _ if link == LinkNo::LOCAL => Some(self.local_newest),
            Some(link) => {
                link.counters.bulk_received.add_one();
                Some(link.receiver.contiguous())
            }
            _ if self.is_parked(link) => None,
            _ => {
                return self.outputs.refuse_bulk(source, delivery.number, delivery.words);
            }
        };
        let after = near.map_or(SeqNo::NONE, |near| delivery.after_seq(near));
        let (from, to, number) = (delivery.from, delivery.to, delivery.number);
        let Some(slot) = self.outputs.keep(source, number, delivery.words) else { return };
        let bulk = playout::Bulk { from, to, number, after, slot };
        let playout = match self.links.get_mut(link) {
            Some(link) => &mut link.playout,
            _ if link == LinkNo::LOCAL => &mut self.local,
            // All that came before it by this link has been played.
            _ => return self.dispatch_bulk(now, link, &bulk),
        };
        if playout.bulk(now, bulk).is_err() {
            self.counters.bulk_overflow.add_one();
            self.outputs.give_up_bulk(slot);
        }
        self.play_ready(now, link);
    }

    /// The source of a bulk message that came whole takes it back: what is not written yet will not be, and
    /// a SysEx that has begun is ended.
    ///
    /// Realtime-safe: yes
    pub fn cancel_bulk(&mut self, source: Endpoint, number: u32) {
        self.outputs.cancel_bulk(source, number);
    }

    pub(super) fn take_bulk_packet(&mut self, from: PortId, packet: Ump) {
        let group = BulkPiece::group_of(&packet);
        let (begins, ends) = extent(&packet);
        let Some(open) = self.open_bulk.get_mut(usize::from(from.0)) else { return };
        if !begins && *open >> group & 1 == 0 {
            return; // the rest of a message that was cut off
        }
        let source = Endpoint::local(from);
        let sinks = self.routes.sinks(source).len() + self.taps.of(source).len();
        if self.pieces.len() + sinks + 2 > BULK_PIECES {
            self.counters.bulk_overflow.add_one();
            self.cut_bulk(from, 1 << group);
            return;
        }
        *open |= 1 << group;
        self.pieces.push_back(BulkPiece::Packet { from, packet });
        if !ends {
            return;
        }
        *open &= !(1 << group);
        let mut local = false;
        for n in 0..self.routes.sinks(source).len() {
            let Some(sink) = self.routes.sinks(source).get(n).map(|route| route.sink) else {
                break;
            };
            if sink.link != LinkNo::LOCAL {
                self.whole_for(from, group, from, sink);
            } else if !local {
                // One message for all local outputs.
                local = true;
                self.whole_for(from, group, from, Endpoint::local(PortId::NONE));
            }
        }
        for n in 0..self.taps.of(source).len() {
            let Some(tap) = self.taps.of(source).get(n).copied() else { break };
            if tap.filter.kinds.holds(Kinds::SYSEX) && self.whole_for(from, group, tap.id, tap.sink)
            {
                self.count_passed(&tap);
            }
        }
        self.pieces.push_back(BulkPiece::End { from, group });
    }

    /// The message that `from` has ended goes to a sink, as one of `by`; whether it does.
    fn whole_for(&mut self, from: PortId, group: u8, by: PortId, sink: Endpoint) -> bool {
        let (number, after) = if sink.link == LinkNo::LOCAL {
            let Some(count) = self.local_bulk.get_mut(usize::from(by.0)) else { return false };
            *count = following(*count);
            (*count, self.local_newest)
        } else if let Some(link) = self.links.get_mut(sink.link) {
            (link.next_bulk_number(by), link.newest())
        } else if let Some(Some(link)) = self.parked.get_mut(usize::from(sink.link.0)) {
            // It is kept until the peer is back.
            (link.next_bulk_number(by), SeqNo::NONE)
        } else {
            return false;
        };
        if let Some(port) = self.ports.get(usize::from(by.0)) {
            port.in_flight.add_one();
            port.bulk_in_flight.add_one();
        }
        self.pieces.push_back(BulkPiece::Whole { from, by, group, sink, number, after });
        true
    }

    /// Ends unfinished bulk messages of a source in the groups of `mask`.
    pub(super) fn cut_bulk(&mut self, from: PortId, mask: u32) {
        let Some(open) = self.open_bulk.get_mut(usize::from(from.0)) else { return };
        let cut = *open & mask;
        *open &= !mask;
        if cut == 0 {
            return;
        }
        for group in (0..=16u8).filter(|g| cut >> g & 1 == 1) {
            // Without its end the rest of a message is forgotten when the next one begins; and there
            // is room unless nobody has taken pieces for long.
            if self.pieces.len() < BULK_PIECES {
                self.pieces.push_back(BulkPiece::End { from, group });
            }
        }
    }

    pub(super) fn dispatch_bulk(&mut self, now: LocalTime, link: LinkNo, bulk: &playout::Bulk) {
        if self.is_muted(link) {
            self.counters.not_allowed.add_one();
            return self.outputs.give_up_bulk(bulk.slot);
        }
        let source = Endpoint::remote(link, bulk.from);
        if bulk.to != PortId::NONE {
            if self.may_address(link, bulk.to) {
                self.outputs.play_bulk(now, bulk.to, bulk.slot);
            } else {
                self.counters.not_exported.add_one();
                return self.outputs.give_up_bulk(bulk.slot);
            }
        } else {
            for route in self.routes.sinks(source) {
                if route.sink.link == LinkNo::LOCAL {
                    self.outputs.play_bulk(now, route.sink.port, bulk.slot);
                }
            }
            for tap in self.taps.of(source).iter().filter(|_| link != LinkNo::LOCAL) {
                if tap.filter.kinds.holds(Kinds::SYSEX) {
                    self.count_passed(tap);
                    self.outputs.play_bulk(now, tap.sink.port, bulk.slot);
                }
            }
        }
        self.outputs.seal_bulk(bulk.slot);
    }
}
