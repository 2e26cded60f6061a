//! What two messages are to each other: [`conflicts`] and [`coalesces`] against what they do.

use super::*;

/// The table and the device after these messages, which keep their numbers in any order.
fn after(messages: &[(u64, Strand, Ump)]) -> (BTreeMap<(Strand, Kind, u16), Value>, Channels) {
    let mut table = StateTable::new();
    let mut device = Channels::new();
    for (number, strand, message) in messages {
        table.apply(*strand, SeqNo::new(*number), LocalTime::ZERO, message);
        hear(&mut device, As::Device, *strand, *number, message);
    }
    for channel in device.values_mut() {
        // When a parameter was set matters to a table's eviction, not to a device.
        channel.parameters.values_mut().for_each(|(_, number)| *number = 0);
        channel.resets.clear();
    }
    (kept(&mut table), device)
}

fn numbered(messages: Vec<(Strand, Ump)>) -> Vec<(u64, Strand, Ump)> {
    (1..).zip(messages).map(|(n, (s, m))| (n, s, m)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_does_not_conflict_may_be_played_in_either_order(messages in performance(20)) {
        let mut messages = numbered(messages);
        for end in 2..=messages.len() {
            let [.., older, newer] = &messages[..end] else { continue };
            if older.1 == newer.1 && !conflicts(&newer.2, &older.2) {
                let sent = after(&messages[..end]);
                messages.swap(end - 2, end - 1);
                prop_assert_eq!(after(&messages[..end]), sent, "{:?}", &messages[end - 2..end]);
                messages.swap(end - 2, end - 1);
            }
        }
    }

    #[test]
    fn what_a_newer_value_replaces_may_be_left_out(messages in performance(25)) {
        let messages = numbered(messages);
        for (at, (_, strand, older)) in messages.iter().enumerate() {
            let replaces = |m: &&(u64, Strand, Ump)| m.1 == *strand && coalesces(&m.2, older);
            if messages[at + 1..].iter().find(replaces).is_some() {
                let mut fewer = messages.clone();
                fewer.remove(at);
                prop_assert_eq!(after(&fewer), after(&messages), "without {:?}", older);
            }
        }
    }

    #[test]
    fn conflicts_are_mutual_within_a_channel_but_for_what_acts_on_the_next_note(
        messages in performance(3),
    ) {
        let [(a, one), (b, other), ..] = &messages[..] else { return Ok(()) };
        prop_assume!(a == b && a.has_channel());
        if !is_note_on(one) && !is_note_on(other) {
            prop_assert_eq!(conflicts(one, other), conflicts(other, one));
        }
        prop_assert!(!coalesces(one, other) || conflicts(one, other));
    }
}

#[test]
fn known_pairs_conflict_or_coalesce_or_do_not() {
    let reset_2 = Ump::from_words(&[0x40B0_7900, 0]).unwrap();
    assert!(conflicts(&reset_2, &Ump::midi1(0, 0xB0, 121, 0)), "of two protocols");
    let m = |status, a, b| Ump::midi1(0, status, a, b);
    let (on, off) = (m(0x90, 60, 1), m(0x80, 60, 1));
    for (newer, older, want) in [
        (off, on, true),
        (on, off, true),
        (m(0x90, 61, 1), on, false),
        (m(0xB0, 123, 0), on, true),
        (on, m(0xB0, 120, 0), true),
        (on, m(0xB0, 7, 1), false),
        (m(0xB0, 7, 2), m(0xB0, 7, 1), true),
        (m(0xB0, 7, 2), m(0xB0, 39, 1), true),
        (m(0xB0, 121, 0), m(0xB0, 64, 127), true),
        (m(0xB0, 121, 0), m(0xB0, 7, 1), false),
        (m(0xB0, 121, 0), m(0xB0, 6, 1), true),
        (m(0xC0, 1, 0), m(0xB0, 0, 1), true),
        (m(0xB0, 6, 1), m(0xB0, 101, 0), true),
        (m(0xB0, 96, 1), m(0xB0, 38, 0), true),
        (on, m(0xB0, 88, 1), true),
        (m(0xB0, 88, 1), on, false),
        (wide(0xF, 0, 60, 1, 0), wide(0, 0, 60, 3, 1), true),
        (wide(0xF, 0, 61, 1, 0), wide(0, 0, 60, 3, 1), false),
        (wide(0x9, 0, 60, 0, 0), on, true),
    ] {
        assert_eq!(conflicts(&newer, &older), want, "{newer:?} after {older:?}");
    }
    for (newer, older, want) in [
        (m(0xB0, 7, 2), m(0xB0, 7, 1), true),
        (m(0xB0, 64, 2), m(0xB0, 64, 1), false),
        (m(0xB0, 33, 2), m(0xB0, 33, 1), false),
        (m(0xB0, 43, 2), m(0xB0, 43, 1), false),
        (m(0xB0, 39, 2), m(0xB0, 39, 1), true),
        (m(0xB0, 0, 2), m(0xB0, 0, 1), false),
        (m(0xB0, 6, 2), m(0xB0, 6, 1), false),
        (m(0xB0, 121, 0), m(0xB0, 121, 0), false),
        (m(0xE0, 7, 2), m(0xE0, 7, 1), true),
        (m(0xA0, 7, 2), m(0xA0, 7, 1), true),
        (m(0xA0, 7, 2), m(0xA0, 8, 1), false),
        (on, on, false),
    ] {
        assert_eq!(coalesces(&newer, &older), want, "{newer:?} after {older:?}");
    }
}
