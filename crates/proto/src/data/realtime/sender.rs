//! Sends events and repeats them until they are acknowledged.
//!
//! A new event leaves with the next datagram, at once. As long as it is not acknowledged it is
//! repeated: 2, 5, 10 and 20 ms after it first left, then every 10 ms for 2 s, then every 40 ms. One
//! datagram repeats as much of the unacknowledged tail as it holds, oldest first, since the receiver
//! waits for the oldest.

use super::history::{History, Sent};
use crate::config::{REPEAT_EVERY, REPEAT_FAST_FOR, REPEAT_OFFSETS, REPEAT_SLOW_EVERY};
use crate::data::counters::LinkCounters;
use crate::id::PortId;
use crate::seq::SeqNo;
use crate::time::{LocalTime, Span};
use crate::wire::{Ack, DatagramBuilder, WireEvent};

/// How many events behind the oldest are looked at when one is due: as many as a datagram holds.
const REPEAT_TAIL: u64 = 128;

/// An event that went out is repeated with others only after this long: one that left a moment ago
/// is most likely on its way.
const REPEAT_PAUSE: Span = Span::from_us(1_500);

/// The sending half of a link's real-time lane.
#[derive(Debug)]
pub struct Sender {
    history: History,
    /// The first event that has not left yet.
    unsent: SeqNo,
}

impl Default for Sender {
    fn default() -> Self {
        let history = History::default();
        Self { unsent: history.next(), history }
    }
}

impl Sender {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        self.history.capacities()
    }

    /// Takes an event; it leaves with the next datagram. When the history is full, its oldest event
    /// goes, and is returned if the peer never acknowledged it.
    ///
    /// Realtime-safe: yes
    pub fn push(&mut self, event: Sent) -> (SeqNo, Option<Sent>) {
        let (number, dropped) = self.history.push(event);
        self.unsent = self.unsent.max(self.history.oldest());
        (number, dropped.filter(|e| !e.acked).map(|e| e.event))
    }

    /// The number of the newest event; [`SeqNo::NONE`] before the first.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn newest(&self) -> SeqNo {
        SeqNo::new(self.history.next().get().saturating_sub(1))
    }

    /// How many events are not acknowledged.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.history.oldest().until(self.history.next())
    }

    /// Takes an acknowledgement; `acked` is called once for each event that it is the first to cover.
    ///
    /// Realtime-safe: yes
    pub fn handle_ack(&mut self, ack: &Ack, mut acked: impl FnMut(PortId)) {
        let contiguous = SeqNo::widen(ack.contiguous, self.newest());
        if contiguous > self.newest() {
            // Nobody can have what was not sent: a peer's mistake, without consequence.
            return;
        }
        let mut number = self.history.oldest();
        let last = contiguous.plus(1 + u64::from(64 - ack.mask.leading_zeros())).min(self.newest());
        while number <= last {
            let covered = number <= contiguous || ack.covers(number.to_wire());
            if covered
                && let Some(entry) = self.history.get_mut(number)
                && !entry.acked
            {
                entry.acked = true;
                acked(entry.event.from);
            }
            number = number.next();
        }
        self.history.trim();
    }

    /// Calls `lost` with the source of each event that is not acknowledged.
    ///
    /// Realtime-safe: yes
    pub fn forget_unacked(&self, mut lost: impl FnMut(PortId)) {
        let mut number = self.history.oldest();
        while let Some(entry) = self.history.get(number) {
            if !entry.acked {
                lost(entry.event.from);
            }
            number = number.next();
        }
    }

    /// Whether a datagram should leave now for the sake of events.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn is_due(&self, now: LocalTime) -> bool {
        self.wake_at() <= now
    }

    /// When [`Sender::fill`] has something to send; [`LocalTime::MAX`] when all is acknowledged.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        if self.unsent < self.history.next() {
            return LocalTime::ZERO;
        }
        let Some(oldest) = self.history.get(self.history.oldest()) else { return LocalTime::MAX };
        let Some(first_sent) = oldest.first_sent else { return LocalTime::ZERO };
        first_sent + repeat_offset(oldest.repeats)
    }

    /// Writes events into a datagram that leaves at `sent`: the due repeats, then the new ones, as
    /// many as have room. Call until [`Sender::is_due`] says no.
    ///
    /// Realtime-safe: yes
    pub fn fill(
        &mut self,
        sent: LocalTime,
        datagram: &mut DatagramBuilder<'_>,
        counters: &LinkCounters,
    ) {
        let oldest = self.history.oldest();
        let repeat_due = oldest < self.unsent && self.repeat_is_due(sent);
        if repeat_due {
            // New events keep half of the room: repeating must not hold up what is fresh.
            let keep_free = if self.unsent < self.history.next() { datagram.room() / 2 } else { 0 };
            let end = self.unsent.min(oldest.plus(REPEAT_TAIL));
            self.write_run(oldest, end, sent, datagram, keep_free, counters);
        }
        let unsent = self.unsent;
        self.unsent = self.write_run(unsent, self.history.next(), sent, datagram, 0, counters);
    }

    fn repeat_is_due(&self, now: LocalTime) -> bool {
        self.history
            .get(self.history.oldest())
            .and_then(|e| e.first_sent.map(|first| first + repeat_offset(e.repeats) <= now))
            .unwrap_or(false)
    }

    /// Writes the events of `number..end` that are worth it, in as few fields as their numbers allow;
    /// returns the first that found no room (or `end`).
    fn write_run(
        &mut self,
        mut number: SeqNo,
        end: SeqNo,
        sent: LocalTime,
        datagram: &mut DatagramBuilder<'_>,
        keep_free: usize,
        counters: &LinkCounters,
    ) -> SeqNo {
        let oldest = self.history.oldest();
        while number < end {
            if !self.is_wanted(number, oldest, sent) {
                number = number.next();
                continue;
            }
            if datagram.room() <= keep_free {
                return number;
            }
            let mut field = datagram.events(number);
            let before = number;
            while number < end && self.is_wanted(number, oldest, sent) {
                let Some(entry) = self.history.get_mut(number) else { break };
                if !field.push(&wire_event(&entry.event, sent)) {
                    break;
                }
                match entry.first_sent {
                    Some(first) => {
                        // A node that slept does not make up for the repeats it missed.
                        entry.repeats = repeats_until(sent - first).max(entry.repeats + 1);
                        counters.events_repeated.add_one();
                    }
                    None => {
                        entry.first_sent = Some(sent);
                        counters.events_sent.add_one();
                    }
                }
                entry.last_sent = sent;
                number = number.next();
            }
            let filled = field.count() == u8::MAX;
            if number == before || (number < end && !filled && self.is_wanted(number, oldest, sent))
            {
                return number;
            }
        }
        number
    }

    /// Whether an event should stand in a datagram that leaves now: new ones, the oldest, and others
    /// that left long enough ago.
    fn is_wanted(&self, number: SeqNo, oldest: SeqNo, now: LocalTime) -> bool {
        self.history.get(number).is_some_and(|e| {
            !e.acked
                && (e.first_sent.is_none() || number == oldest || now - e.last_sent >= REPEAT_PAUSE)
        })
    }
}

/// When the repeat after `repeats` earlier ones is due, from the first sending.
fn repeat_offset(repeats: u32) -> Span {
    let n = repeats as usize;
    if let Some(offset) = REPEAT_OFFSETS.get(n) {
        return *offset;
    }
    let last = REPEAT_OFFSETS[REPEAT_OFFSETS.len() - 1];
    let beyond = i64::try_from(n - REPEAT_OFFSETS.len()).unwrap_or(i64::MAX).saturating_add(1);
    let fast = (REPEAT_FAST_FOR - last).as_ns() / REPEAT_EVERY.as_ns();
    if beyond <= fast {
        last + REPEAT_EVERY * beyond
    } else {
        REPEAT_FAST_FOR + REPEAT_SLOW_EVERY * (beyond - fast)
    }
}

/// How many repeats were due in the time since the first sending: the next one is still to come.
fn repeats_until(age: Span) -> u32 {
    let last = REPEAT_OFFSETS[REPEAT_OFFSETS.len() - 1];
    if age < last {
        return REPEAT_OFFSETS.iter().map(|offset| u32::from(*offset <= age)).sum();
    }
    let fast = (age.min(REPEAT_FAST_FOR) - last).as_ns() / REPEAT_EVERY.as_ns();
    let slow = (age - age.min(REPEAT_FAST_FOR)).as_ns() / REPEAT_SLOW_EVERY.as_ns();
    let offsets = u32::try_from(REPEAT_OFFSETS.len()).unwrap_or(0);
    u32::try_from(fast + slow).map_or(u32::MAX / 2, |n| n.saturating_add(offsets))
}

fn wire_event(event: &Sent, sent: LocalTime) -> WireEvent {
    let offset_us = (event.at - sent).as_us();
    WireEvent {
        from: event.from,
        to: event.to,
        after_bulk: event.after_bulk,
        // Beyond 35 minutes an event's age says nothing any more.
        offset_us: i32::try_from(offset_us).unwrap_or(if offset_us < 0 {
            i32::MIN
        } else {
            i32::MAX
        }),
        previous: 0,
        message: event.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LinkId;
    use crate::midi::Ump;
    use crate::seal::Unsealed;
    use crate::wire::{DATAGRAM_MAX, Field, Header, fields, split};

    fn at(us: i64) -> LocalTime {
        LocalTime::from_ns(us * 1000)
    }

    fn event(at: LocalTime, note: u8) -> Sent {
        let message = Ump::midi1(0, 0x90, note, 1);
        Sent { from: PortId(3), to: PortId(0), after_bulk: 0, at, message }
    }

    /// What one datagram of the sender holds: numbers.
    fn numbers(sender: &mut Sender, now: LocalTime) -> Vec<u32> {
        let mut buf = [0; DATAGRAM_MAX];
        let header = Header { epoch: 0, link: LinkId(1), counter: 1 };
        let mut datagram = DatagramBuilder::new(&mut buf, header).unwrap();
        sender.fill(now, &mut datagram, &LinkCounters::default());
        let len = datagram.finish(&mut Unsealed);
        let (_, _, body, _) = split(&mut buf[..len]).unwrap();
        fields(body)
            .flat_map(|f| match f.unwrap() {
                Field::Events(events) => events.iter().map(|(n, _)| n).collect::<Vec<_>>(),
                _ => vec![],
            })
            .collect()
    }

    #[test]
    fn a_lone_event_is_repeated_by_the_schedule_until_it_is_acknowledged() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        assert_eq!(sender.wake_at(), LocalTime::ZERO);
        assert_eq!(numbers(&mut sender, at(0)), [1]);
        let mut times = vec![];
        for _ in 0..210 {
            let due = sender.wake_at();
            times.push(due.as_us() / 1000);
            assert_eq!(numbers(&mut sender, due), [1]);
        }
        assert_eq!(times[..7], [2, 5, 10, 20, 30, 40, 50]);
        assert_eq!(times[201], 2000);
        assert_eq!(times[202..205], [2040, 2080, 2120]);
        let mut acked = vec![];
        sender.handle_ack(&Ack { contiguous: 1, mask: 0 }, |p| acked.push(p));
        sender.handle_ack(&Ack { contiguous: 1, mask: 0 }, |p| acked.push(p));
        assert_eq!(acked, [PortId(3)]);
        assert_eq!(sender.wake_at(), LocalTime::MAX);
    }

    #[test]
    fn the_next_repeat_is_the_first_that_is_not_due_yet() {
        let mut ages: Vec<i64> = (0..3_000).map(|n| n * 500).collect();
        ages.extend([1_999_999, 2_000_000, 2_039_999, 2_040_000, 60_000_000, 86_400_000_000]);
        for age in ages.into_iter().map(Span::from_us) {
            let repeats = repeats_until(age);
            assert!(repeat_offset(repeats) > age, "{age:?}");
            assert!(repeats == 0 || repeat_offset(repeats - 1) <= age, "{age:?}");
        }
    }

    #[test]
    fn a_node_that_slept_repeats_once_and_not_for_all_the_time_it_slept() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        assert_eq!(numbers(&mut sender, at(0)), [1]);
        assert_eq!(numbers(&mut sender, at(10_000_000)), [1]);
        assert!(!sender.is_due(at(10_000_000)));
    }

    #[test]
    fn a_repeat_leaves_out_what_the_mask_covers_and_what_has_just_left() {
        let mut sender = Sender::default();
        for n in 0..5 {
            sender.push(event(at(0), n));
        }
        assert_eq!(numbers(&mut sender, at(0)), [1, 2, 3, 4, 5]);
        // 1 is there, 2 is missing, 3 is there, 4 missing, 5 there.
        sender.handle_ack(&Ack { contiguous: 1, mask: 0b101 }, |_| {});
        sender.push(event(at(1900), 9));
        assert_eq!(numbers(&mut sender, at(1900)), [6]);
        assert_eq!(numbers(&mut sender, at(2000)), [2, 4]);
        sender.handle_ack(&Ack { contiguous: 6, mask: 0 }, |_| {});
        assert_eq!(sender.in_flight(), 0);
    }

    #[test]
    fn a_thousand_events_leave_in_order_over_several_datagrams() {
        let mut sender = Sender::default();
        for n in 0..1000 {
            sender.push(event(at(n), 1));
        }
        let mut all = vec![];
        while sender.is_due(at(1000)) {
            all.extend(numbers(&mut sender, at(1000)));
        }
        assert_eq!(all, (1..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn an_ack_of_the_future_or_of_nothing_changes_nothing() {
        let mut sender = Sender::default();
        sender.push(event(at(0), 60));
        for contiguous in [2, 99, u32::MAX, 0] {
            sender.handle_ack(&Ack { contiguous, mask: u64::MAX - 1 }, |_| panic!("acked"));
        }
        assert_eq!(sender.in_flight(), 1);
    }
}
