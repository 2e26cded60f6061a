//! Links coming and going.

use std::net::SocketAddr;

use super::table::Links;
use super::{Discard, Plane, settle};
use crate::control::clock::map::TimeMap;
use crate::id::{LinkId, LinkNo};
use crate::time::LocalTime;

impl Plane {
    pub(super) fn link_up(
        &mut self,
        now: LocalTime,
        number: LinkNo,
        ids: (LinkId, LinkId),
        address: Option<SocketAddr>,
        same_host: bool,
    ) {
        self.link_down(now, number, true);
        let Some(mut link) = self.spare_links.pop() else { return };
        link.open(now, number, ids, address, same_host);
        link.clock.set_ours(now, self.mesh_clock);
        if let Some(mut old) = self.parked.get_mut(usize::from(number.0)).and_then(Option::take) {
            link.go_on_from(&mut old);
            self.discards.push_back(Discard::Link(old));
        }
        self.discards.extend(self.links.insert(number, link).map(Discard::Link));
    }

    /// Ends a link. One that is `kept` may come up again, and go on with the numbers of its bulk messages.
    pub(super) fn link_down(&mut self, now: LocalTime, number: LinkNo, kept: bool) {
        let place = usize::from(number.0);
        if !kept {
            self.link_forget(now, number);
        }
        let Some(mut link) = self.links.take(number) else { return };
        self.alive.remove(number);
        // Its peer has been told that they are here whole.
        while let Some(bulk) = link.playout.give_up_bulk() {
            self.dispatch_bulk(now, number, &bulk);
        }
        link.forget_unacked(|from| settle(&self.ports, from));
        self.outputs.release_link(number);
        match self.parked.get_mut(place) {
            Some(slot @ None) if kept => *slot = Some(link),
            _ => {
                self.routes_forget(now, number);
                self.discards.push_back(Discard::Link(link));
            }
        }
    }

    fn routes_forget(&mut self, now: LocalTime, number: LinkNo) {
        self.routes.retain(|r| r.source.link != number && r.sink.link != number);
        self.taps_forget(now, number);
    }

    /// A link that is down will not come up again.
    pub(super) fn link_forget(&mut self, now: LocalTime, number: LinkNo) {
        if let Some(link) = self.parked.get_mut(usize::from(number.0)).and_then(Option::take) {
            self.routes_forget(now, number);
            self.discards.push_back(Discard::Link(link));
        }
    }

    /// What the mesh's clock shows from now on.
    pub(super) fn set_mesh_clock(&mut self, now: LocalTime, map: Option<TimeMap>) {
        self.mesh_clock = map;
        for number in Links::numbers() {
            if let Some(link) = self.links.get_mut(number) {
                link.clock.set_ours(now, map);
            }
        }
    }

    pub(super) fn is_parked(&self, number: LinkNo) -> bool {
        self.parked.get(usize::from(number.0)).is_some_and(Option::is_some)
    }
}
