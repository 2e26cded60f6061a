//! Nothing plays that was not sent, nothing twice, and nothing in the wrong order.
//!
//! Each item that is heard is looked for among those of its class ([`Class`]) behind the last one of
//! that class that was heard, so that a value never comes after a newer one of the same controller, nor
//! a note-on after its note-off. Those passed over were superseded, or dropped.
//!
//! Within a strand (a channel) items of different classes are in order too, unless the older one was so
//! late that it was given up: a node waits [`WAIT`] at most. What was played sooner than that after it
//! was sent is *prompt*; so whoever comes behind a prompt item of later number is out of order, unless
//! one between them did wait. The same holds between a SysEx and the messages of its source, whatever
//! their channel.

use std::collections::BTreeMap;

use midip2p_proto::time::Span;

use super::sent::{Class, Item, Source, Strand};
use crate::clock::TrueTime;

/// How long an event is waited for by those behind it in its strand, and a SysEx by the events behind
/// it, less what a clock may be wrong.
const WAIT: Span = Span::from_us(19_900);

/// How far one source was heard at one output.
#[derive(Debug, Default)]
pub struct Order {
    /// For each class, how many of its items were heard or passed over.
    next: BTreeMap<Class, usize>,
    /// What was heard in each strand, of SysEx, and of all messages together.
    strands: BTreeMap<Strand, Newest>,
    sysex: Newest,
    messages: Newest,
    /// When each item was heard.
    pub heard: BTreeMap<usize, TrueTime>,
}

/// The newest items that were heard, by their places: those that were prompt, those that had waited.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    prompt: Option<usize>,
    waited: Option<usize>,
}

impl Newest {
    /// The item behind which one of this place would be out of order.
    fn ahead_of(self, place: usize) -> Option<usize> {
        self.prompt.filter(|prompt| *prompt > place && self.waited.is_none_or(|w| w < place))
    }

    fn heard(&mut self, place: usize, prompt: bool) {
        let newest = if prompt { &mut self.prompt } else { &mut self.waited };
        *newest = Some(place).max(*newest);
    }
}

impl Order {
    /// An item was heard. `repaired`: the node has played a snapshot, which sets values again that were
    /// right already, and parts of what selects a parameter in an order of its own.
    ///
    /// # Errors
    /// That it was never sent, came twice, or out of order.
    pub fn heard(
        &mut self,
        now: TrueTime,
        item: &Item,
        source: &Source,
        repaired: bool,
    ) -> Result<(), String> {
        let class = Class::of(item);
        let all = source.classes.get(&class).map_or(&[][..], Vec::as_slice);
        let is_it = |place: &usize| source.items[*place].1 == *item;
        let next = self.next.get(&class).copied().unwrap_or(0);
        let mut left = (next..).zip(&all[next..]).filter(|(_, place)| is_it(place)).peekable();
        let first = left.peek().copied();
        // Of several that are equal, the first whose turn it may be: those before it were superseded.
        let in_order = left.find(|(_, place)| self.ahead_of(class, **place).is_none());
        if let Some((n, place)) = in_order {
            self.next.insert(class, n + 1);
            self.take(now, class, *place, source);
            return Ok(());
        }
        let brief = |n: usize| source.items[n].1.brief();
        if let Some(behind) = first.and_then(|(_, place)| self.ahead_of(class, *place)) {
            return Err(format!("{} came behind {}, out of order", item.brief(), brief(behind)));
        }
        let again = next > 0 && is_it(&all[next - 1]);
        let some_time = all.iter().any(is_it);
        if repaired && !class.is_note() && (again || class.is_part() && some_time) {
            return Ok(());
        }
        Err(match (again, some_time) {
            (true, _) => format!("{} came twice", item.brief()),
            (false, true) => format!("{} came twice or after a newer one", item.brief()),
            (false, false) => format!("{} was never sent", item.brief()),
        })
    }

    /// The item that was played already and behind which one of this class and place is out of order.
    fn ahead_of(&self, class: Class, place: usize) -> Option<usize> {
        if class == Class::SysEx {
            return self.messages.ahead_of(place);
        }
        let strand = self.strands.get(&class.strand()).and_then(|newest| newest.ahead_of(place));
        strand.or_else(|| self.sysex.ahead_of(place))
    }

    fn take(&mut self, now: TrueTime, class: Class, place: usize, source: &Source) {
        self.heard.insert(place, now);
        let prompt = now.since(source.items[place].0) < WAIT;
        if class == Class::SysEx {
            self.sysex.heard(place, prompt);
        } else {
            self.strands.entry(class.strand()).or_default().heard(place, prompt);
            self.messages.heard(place, prompt);
        }
    }
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
        order.iter().try_for_each(|(n, ms)| o.heard(TrueTime(ms * MS), &items[*n], &source, false))
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
        assert_eq!(heard(&more, &[(2, 25), (3, 4), (0, 26)]), Ok(()));
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
        let never = o.heard(TrueTime(0), &items[0], &Source::default(), true);
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
