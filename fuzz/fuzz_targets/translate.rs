//! Any words as packets: seen as what they mean, and translated from MIDI 1.0 to 2.0 and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midip2p_midi::translate::{ToMidi1, ToMidi2};
use midip2p_midi::{MessageType, Ump, View};

fuzz_target!(|data: &[u8]| {
    let words: Vec<u32> =
        data.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect();
    let mut packets = Vec::new();
    let mut rest = &words[..];
    while let Some((packet, later)) = Ump::split_first(rest) {
        assert_eq!(Ump::from(View::of(packet)), packet);
        packets.push(packet);
        rest = later;
    }

    let low = down(&packets);
    let has_bytes = [MessageType::System, MessageType::Midi1Voice, MessageType::Sysex7];
    assert!(low.iter().all(|p| has_bytes.contains(&p.message_type())));
    // Once in MIDI 1.0, further translations there change nothing.
    assert_eq!(down(&low), low);

    let high = up(&packets);
    assert!(high.iter().all(|p| p.message_type() != MessageType::Midi1Voice));
    assert_eq!(up(&high), high);

    // Up, down and up again says what up said: MIDI 2.0 holds all that MIDI 1.0 can say. Only what
    // MIDI 1.0 does not have got lost on the way down, and that cannot come from MIDI 1.0.
    let from_low = up(&low);
    let once_more = up(&down(&from_low));
    assert_eq!(once_more, from_low);
});

fn up(packets: &[Ump]) -> Vec<Ump> {
    let mut to = ToMidi2::new();
    let mut seen = Vec::new();
    for packet in packets {
        let before = seen.len();
        to.push(*packet, &mut |p| seen.push(p));
        assert!(seen.len() <= before + 2);
    }
    to.flush(&mut |p| seen.push(p));
    seen
}

fn down(packets: &[Ump]) -> Vec<Ump> {
    let mut to = ToMidi1::new();
    let mut seen = Vec::new();
    for packet in packets {
        let before = seen.len();
        to.push(*packet, &mut |p| seen.push(p));
        assert!(seen.len() <= before + ToMidi1::MAX);
    }
    seen
}
