//! The links of a plane, and which of them want to be looked after.
//!
//! Whoever changes a link gets it from [`Links::get_mut`], which notes that it is to be looked after; who
//! has looked after it says so by [`Links::settle`], and it is left alone until the moment that it names
//! itself. So what a datagram costs depends on the links that have something to do, not on how many there
//! are. The moments stand side by side: 255 of them are looked through in a tenth of a microsecond.

use crate::config::{LINKS_MAX, PROBE_WITH_OTHERS, PROBES_TOGETHER};
use crate::data::link::Link;
use crate::data::schedule::AT_ONCE;
use crate::id::{LinkId, LinkNo};
use crate::time::LocalTime;

/// Links by number.
pub(super) struct Links {
    links: Vec<Option<Box<Link>>>,
    /// When each wants to be looked after, at the earliest.
    due: Vec<LocalTime>,
    /// No link wants to be looked after before then.
    first: LocalTime,
    /// The numbers by what stands on their datagrams, sorted.
    by_id: Vec<(LinkId, LinkNo)>,
}

impl Links {
    /// No link; with places for [`LINKS_MAX`].
    pub(super) fn new() -> Self {
        Self {
            links: (0..LINKS_MAX).map(|_| None).collect(),
            due: vec![LocalTime::MAX; LINKS_MAX],
            first: LocalTime::MAX,
            by_id: Vec::with_capacity(LINKS_MAX),
        }
    }

    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> Vec<usize> {
        let own = [self.links.capacity(), self.due.capacity(), self.by_id.capacity()];
        own.into_iter().chain(self.links.iter().flatten().flat_map(|l| l.capacities())).collect()
    }

    /// The link of that number, to look at.
    ///
    /// Realtime-safe: yes
    pub(super) fn get(&self, number: LinkNo) -> Option<&Link> {
        self.links.get(usize::from(number.0))?.as_deref()
    }

    /// The link of that number, to be changed.
    ///
    /// Realtime-safe: yes
    pub(super) fn get_mut(&mut self, number: LinkNo) -> Option<&mut Link> {
        let place = usize::from(number.0);
        let link = self.links.get_mut(place)?.as_deref_mut()?;
        self.due[place] = AT_ONCE;
        self.first = AT_ONCE;
        Some(link)
    }

    /// The numbers of all links.
    ///
    /// Realtime-safe: yes
    pub(super) fn numbers() -> impl Iterator<Item = LinkNo> {
        (0..LINKS_MAX).filter_map(|n| u16::try_from(n).ok()).map(LinkNo)
    }

    /// The link with that id.
    ///
    /// Realtime-safe: yes
    pub(super) fn by_id(&self, id: LinkId) -> Option<LinkNo> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.by_id.get(at).map(|(_, number)| *number)
    }

    /// Takes an open link in; gives it back when its place is not free.
    ///
    /// Realtime-safe: yes
    pub(super) fn insert(&mut self, number: LinkNo, link: Box<Link>) -> Option<Box<Link>> {
        let place = usize::from(number.0);
        let id = link.local_id();
        match self.links.get_mut(place) {
            Some(slot @ None) if number != LinkNo::LOCAL => *slot = Some(link),
            _ => return Some(link),
        }
        let at = self.by_id.partition_point(|(known, _)| *known < id);
        // Each link has one entry, so that there is always room.
        self.by_id.insert(at, (id, number));
        (self.due[place], self.first) = (AT_ONCE, AT_ONCE);
        None
    }

    /// Takes a link out.
    ///
    /// Realtime-safe: yes
    pub(super) fn take(&mut self, number: LinkNo) -> Option<Box<Link>> {
        let place = usize::from(number.0);
        let link = self.links.get_mut(place)?.take()?;
        self.by_id.retain(|(_, known)| *known != number);
        self.due[place] = LocalTime::MAX;
        Some(link)
    }

    /// The first link from `from` on that wants to be looked after; with [`Links::at`] it is.
    ///
    /// Realtime-safe: yes
    pub(super) fn next_due(&mut self, now: LocalTime, from: LinkNo) -> Option<LinkNo> {
        if self.first > now {
            return None;
        }
        let start = usize::from(from.0).min(self.due.len());
        let found = self.due[start..].iter().position(|due| *due <= now);
        match found.map(|n| u16::try_from(start + n)) {
            Some(Ok(number)) => Some(LinkNo(number)),
            _ => {
                self.first = self.due.iter().copied().min().unwrap_or(LocalTime::MAX);
                None
            }
        }
    }

    /// The link of that number, to be looked after.
    ///
    /// Realtime-safe: yes
    pub(super) fn at(&mut self, number: LinkNo) -> Option<&mut Link> {
        self.links.get_mut(usize::from(number.0))?.as_deref_mut()
    }

    /// A link has been looked after: it need not be again before it wants to.
    ///
    /// Realtime-safe: yes
    pub(super) fn settle(&mut self, now: LocalTime, number: LinkNo) {
        let place = usize::from(number.0);
        let (Some(link), Some(due)) = (self.links.get(place), self.due.get_mut(place)) else {
            return;
        };
        // Until somebody changes it, it wants nothing before that.
        *due = link.as_ref().map_or(LocalTime::MAX, |link| {
            link.send_at(now).min(link.receiver.wake_at()).min(link.playout.wake_at())
        });
        self.first = self.first.min(*due);
    }

    /// A link that idles sends. Others that would do so soon send with it, but not more than a few.
    ///
    /// Realtime-safe: yes
    pub(super) fn probe_with_others(&mut self, now: LocalTime) {
        let (soon, mut room) = (now + PROBE_WITH_OTHERS, PROBES_TOGETHER);
        for (link, due) in self.links.iter_mut().zip(&mut self.due) {
            if room > 0
                && *due <= soon
                && *due > now
                && link.as_mut().is_some_and(|link| link.probe_with_others(now))
            {
                (*due, self.first) = (AT_ONCE, AT_ONCE);
                room -= 1;
            }
        }
    }

    /// No link wants to be looked after before then.
    ///
    /// Realtime-safe: yes
    pub(super) const fn wake_at(&self) -> LocalTime {
        self.first
    }
}
