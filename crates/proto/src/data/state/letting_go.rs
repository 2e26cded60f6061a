//! What a source that goes away must let go of at a peer: its pedals, then its notes, then its bend.
//!
//! The sender's table knows all of it, however many sources play over the link. Each message that ends
//! something is sent as an event of its own and so changes the table; the walk below looks at the same
//! place again, since what stood behind it may have moved there.

use super::entry::{Entry, Kind};
use super::strand::Strand;
use super::table::StateTable;
use crate::config::STATE_KEYS;
use crate::id::PortId;
use crate::midi::Ump;

/// How far letting go has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct LettingGo {
    pass: usize,
    at: usize,
}

impl StateTable {
    /// The next message that ends something `from` holds at the peer, on its port `to` or (without one) on
    /// any. Apply it to this table before the next call; `None` when nothing is held any more.
    ///
    /// Realtime-safe: yes
    pub fn let_go(
        &self,
        from: PortId,
        to: Option<PortId>,
        walk: &mut LettingGo,
    ) -> Option<(Strand, Ump)> {
        const PASSES: [fn(&Entry) -> bool; 3] = [is_pedal, is_note, is_bend];
        if self.is_empty() {
            return None;
        }
        while let Some(is_wanted) = PASSES.get(walk.pass) {
            while walk.at < STATE_KEYS {
                let entry = self.at(walk.at).map(|(entry, _)| entry).filter(|entry| {
                    let strand = entry.strand;
                    strand.from == from && to.is_none_or(|to| strand.to == to) && is_wanted(entry)
                });
                if let Some(entry) = entry
                    && let Some(message) = self.ending(&entry)
                {
                    return Some((entry.strand, message));
                }
                walk.at += 1;
            }
            *walk = LettingGo { pass: walk.pass + 1, at: 0 };
        }
        None
    }
}

/// Whether it is a pedal that is down: sustain, sostenuto, soft, hold 2.
fn is_pedal(entry: &Entry) -> bool {
    let is_one = entry.kind == Kind::Controller && matches!(entry.index, 64 | 66 | 67 | 69);
    is_one && entry.value != 0
}

fn is_note(entry: &Entry) -> bool {
    entry.kind == Kind::Note
}

fn is_bend(entry: &Entry) -> bool {
    entry.kind == Kind::Bend && entry.value != if entry.midi2 { 0x8000_0000 } else { 0x2000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::SeqNo;
    use crate::time::LocalTime;
    use proptest::prelude::*;

    /// Applies a message of a source to the table, as the number `n`.
    fn play(table: &mut StateTable, from: u16, to: u16, n: &mut u64, message: &Ump) {
        *n += 1;
        let strand = Strand::of(PortId(from), PortId(to), message);
        table.apply(strand, SeqNo::new(*n), LocalTime::ZERO, message);
    }

    fn let_go(table: &mut StateTable, from: u16, to: Option<u16>, n: &mut u64) -> Vec<Ump> {
        let (mut walk, mut said) = (LettingGo::default(), vec![]);
        while let Some((strand, message)) = table.let_go(PortId(from), to.map(PortId), &mut walk) {
            play(table, from, strand.to.0, n, &message);
            said.push(message);
            assert!(said.len() < 10_000, "it does not end");
        }
        said
    }

    #[test]
    fn pedals_go_first_then_notes_then_bends_and_nothing_of_others() {
        let (mut table, mut n) = (StateTable::new(), 0);
        let m1 = |status, data1, data2| Ump::midi1(0, status, data1, data2);
        let wide = |first, value| Ump::from_words(&[first, value]).unwrap();
        for message in [
            m1(0xE1, 0, 1),
            m1(0x91, 60, 1),
            m1(0xB1, 64, 127),
            m1(0xB1, 7, 99),
            wide(0x4192_3C00, 0x8000_0000),
        ] {
            play(&mut table, 1, 0, &mut n, &message);
        }
        play(&mut table, 2, 0, &mut n, &m1(0x91, 60, 1));
        play(&mut table, 1, 5, &mut n, &m1(0x91, 61, 1));
        assert_eq!(let_go(&mut table, 1, Some(5), &mut n), [m1(0x81, 61, 64)]);
        let said = let_go(&mut table, 1, None, &mut n);
        assert_eq!((said[0], said[3], said.len()), (m1(0xB1, 64, 0), m1(0xE1, 0, 64), 4));
        assert!(said[1..3].contains(&m1(0x81, 60, 64)));
        assert!(said[1..3].contains(&wide(0x4182_3C00, 0x8000_0000)));
        assert_eq!(let_go(&mut table, 1, None, &mut n), []);
        assert_eq!(let_go(&mut table, 2, None, &mut n), [m1(0x81, 60, 64)]);
    }

    proptest! {
        /// However many sources there are, and wherever their entries lie in the table.
        #[test]
        fn each_source_lets_go_of_all_it_holds(notes in prop::collection::vec(
            (1u16..60, 0u8..16, 0u8..16, 0u8..128), 1..800,
        )) {
            let (mut table, mut n) = (StateTable::new(), 0);
            for (from, group, channel, key) in &notes {
                play(&mut table, *from, 0, &mut n, &Ump::midi1(*group, 0x90 | channel, *key, 1));
            }
            for from in 1..60 {
                let held = notes.iter().filter(|note| note.0 == from);
                let held = held.collect::<std::collections::BTreeSet<_>>().len();
                prop_assert_eq!(let_go(&mut table, from, None, &mut n).len(), held);
            }
            prop_assert!(table.is_empty());
        }
    }
}
