//! Nothing plays that was not sent, nothing twice, and nothing in the wrong order.
//!
//! Each item that is heard is looked for among those of its class ([`Class`]) behind the last one of
//! that class that was heard, so that a value never comes after a newer one of the same controller, nor
//! a note-on after its note-off. Those passed over were superseded, or dropped.
//!
//! Within a strand (a channel) items of different classes are in order too, unless the older one was so
//! late that it was given up. The event right behind it in its strand waits for it, for `WAIT` at most;
//! so nothing behind it may be heard sooner than that after this one was sent. The same holds between a
//! SysEx and the messages of its source, whatever their channel.

use std::collections::BTreeMap;

use midip2p_proto::time::Span;

use super::sent::{Class, Item, Line, Source};
use crate::clock::TrueTime;

/// How long an event is waited for by those behind it in its strand, and a SysEx by the events behind
/// it, less what a clock may be wrong.
const WAIT: Span = Span::from_us(19_900);

/// What a node's snapshots may have to do with what is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It never played one.
    Never,
    /// It did, which set values again that were right already.
    Once,
    /// It does now: values, then notes, and what selects a parameter in an order of its own.
    Now,
}

/// How far one source was heard at one output.
#[derive(Debug, Default)]
pub struct Order {
    /// For each class, how many of its items were heard or passed over.
    next: BTreeMap<Class, usize>,
    /// When each item was heard, apart by what waits for what.
    lines: BTreeMap<Line, BTreeMap<usize, TrueTime>>,
    /// When each item was heard.
    pub heard: BTreeMap<usize, TrueTime>,
}

impl Order {
    /// An item was heard.
    ///
    /// # Errors
    /// That it was never sent, came twice, or out of order.
    pub fn heard(
        &mut self,
        now: TrueTime,
        item: &Item,
        source: &Source,
        repaired: Repaired,
    ) -> Result<(), String> {
        let class = Class::of(item);
        let all = source.classes.get(&class).map_or(&[][..], Vec::as_slice);
        let is_it = |place: &usize| source.items[*place].1 == *item;
        let next = self.next.get(&class).copied().unwrap_or(0);
        let mut left = (next..).zip(&all[next..]).filter(|(_, place)| is_it(place)).peekable();
        let first = left.peek().copied();
        // Of several that are equal, the first whose turn it may be: those before it were superseded.
        let ahead = |place: usize| match repaired {
            Repaired::Now => None,
            Repaired::Never | Repaired::Once => self.ahead_of(class, place, source),
        };
        let in_order = left.find(|(_, place)| ahead(**place).is_none());
        if let Some((n, place)) = in_order {
            self.next.insert(class, n + 1);
            for line in Line::of(class).filter(|_| repaired != Repaired::Now) {
                self.lines.entry(line).or_default().insert(*place, now);
            }
            self.heard.insert(*place, now);
            return Ok(());
        }
        let brief = |n: usize| source.items[n].1.brief();
        if let Some(behind) = first.and_then(|(_, place)| ahead(*place)) {
            return Err(format!("{} came behind {}, out of order", item.brief(), brief(behind)));
        }
        let again = next > 0 && is_it(&all[next - 1]);
        let some_time = all.iter().any(is_it);
        if repaired != Repaired::Never
            && !class.is_note()
            && (again || is_of_transaction(class, item, some_time))
        {
            return Ok(());
        }
        Err(match (again, some_time) {
            (true, _) => format!("{} came twice", item.brief()),
            (false, true) => format!("{} came twice or after a newer one", item.brief()),
            (false, false) => format!("{} was never sent", item.brief()),
        })
    }

    /// The item that was played already, too soon not to have waited for this one.
    fn ahead_of(&self, class: Class, place: usize, source: &Source) -> Option<usize> {
        Line::behind(class).into_iter().flatten().find_map(|line| {
            let (first, _) = self.lines.get(&line)?.range(place + 1..).next()?;
            let sent = source.lines.get(&line)?;
            let waits = *sent.get(sent.partition_point(|other| *other <= place))?;
            let until = source.items[waits].0.after(WAIT);
            let later = self.lines.get(&line)?.range(*first..);
            later.filter(|(_, at)| **at < until).map(|(place, _)| *place).next()
        })
    }
}

/// Whether it is a part of what a snapshot says at one go: it selects a bank or parameter, or nothing,
/// or sets one, in an order of its own.
fn is_of_transaction(class: Class, item: &Item, some_time: bool) -> bool {
    let selects_nothing = match (class, item) {
        (Class::Controller(_, 98..=101), Item::Message(message)) => {
            message.words()[0] & 0x7F == 127
        }
        _ => false,
    };
    selects_nothing || class.is_part() && some_time
}

#[cfg(test)]
mod tests {
    use super::*;
    use midip2p_proto::midi::Ump;

    const MS: i64 = 1_000_000;

    fn message(channel: u8, status: u8, data1: u8, data2: u8) -> Item {
        Item::Message(Ump::midi1(0, status | channel, data1, data2))
    }

    /// Sends the items a millisecond apart, hears `(which, when in ms)`, and says what was wrong.
    fn heard(items: &[Item], order: &[(usize, i64)]) -> Result<(), String> {
        let mut source = Source::default();
        for (at, item) in (0..).zip(items) {
            let at = TrueTime(at * MS);
            match item {
                Item::Message(message) => source.sent(at, message),
                Item::SysEx(data) => {
                    midip2p_proto::midi::sysex7::packets(0, data).for_each(|p| source.sent(at, &p));
                }
            }
        }
        let mut o = Order::default();
        order.iter().try_for_each(|(n, ms)| {
            o.heard(TrueTime(ms * MS), &items[*n], &source, Repaired::Never)
        })
    }

    fn wrong(items: &[Item], order: &[(usize, i64)], words: &str) {
        let found = heard(items, order).expect_err(words);
        assert!(found.contains(words), "{found}");
    }

    #[test]
    fn channels_do_not_wait_for_each_other_and_a_channel_keeps_its_order() {
        let items = [message(0, 0x90, 60, 1), message(1, 0x90, 60, 1), message(0, 0xB0, 7, 1)];
        assert_eq!(heard(&items, &[(1, 5), (0, 6), (2, 7)]), Ok(()));
        wrong(&items, &[(2, 5), (0, 6)], "out of order");
        // The controller has waited as long as one waits.
        assert_eq!(heard(&items, &[(2, 25), (0, 26)]), Ok(()));
        // What comes behind one that has waited need not wait again.
        let more = [&items[..], &[message(0, 0xB0, 9, 1)]].concat();
        assert_eq!(heard(&more, &[(2, 25), (3, 25), (0, 26)]), Ok(()));
        wrong(&more, &[(0, 30), (3, 4), (2, 26)], "out of order");
        wrong(&items, &[(0, 5), (0, 6)], "came twice");
        wrong(&items[..1], &[(0, 5), (0, 5)], "came twice");
    }

    #[test]
    fn an_older_value_never_comes_after_a_newer_one_however_late_both_are() {
        let items = [message(0, 0xB0, 7, 1), message(0, 0xB0, 7, 2), message(0, 0xB0, 8, 3)];
        assert_eq!(heard(&items, &[(1, 100)]), Ok(()));
        wrong(&items, &[(1, 100), (0, 101)], "after a newer one");
        wrong(&items[..2], &[(0, 1), (1, 2), (1, 3)], "came twice");
        let mut o = Order::default();
        wrong(&items, &[(0, 5), (0, 5)], "came twice");
        let never = o.heard(TrueTime(0), &items[0], &Source::default(), Repaired::Once);
        assert!(never.is_err_and(|what| what.contains("was never sent")));
    }

    #[test]
    fn of_equal_messages_the_one_whose_turn_it_is_counts() {
        let items = [message(0, 0xB0, 7, 1), message(0, 0x90, 60, 1), message(0, 0xB0, 7, 1)];
        // The first controller was superseded, the second comes in order.
        assert_eq!(heard(&items, &[(1, 2), (2, 3)]), Ok(()));
        assert_eq!(heard(&items, &[(0, 0), (1, 2), (2, 3)]), Ok(()));
        wrong(&items, &[(0, 0), (1, 2), (2, 3), (2, 3)], "came twice");
    }

    #[test]
    fn a_sysex_keeps_its_place_among_all_messages_of_its_source() {
        let items = [
            message(0, 0x90, 1, 1),
            Item::SysEx(vec![1; 9]),
            message(5, 0xC0, 1, 0),
            Item::SysEx(vec![2]),
        ];
        assert_eq!(heard(&items, &[(0, 1), (1, 3), (2, 3), (3, 4)]), Ok(()));
        wrong(&items, &[(2, 3), (1, 3)], "out of order");
        wrong(&items, &[(1, 3), (0, 4)], "out of order");
        assert_eq!(heard(&items, &[(2, 23), (1, 200)]), Ok(()));
        wrong(&items, &[(3, 300), (1, 300)], "after a newer one");
    }
}
