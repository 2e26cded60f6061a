//! Any bytes as a MIDI 1.0 stream: parsed, written again, and parsed once more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midip2p_midi::bytes::{Parsed, Parser, Writer};
use midip2p_midi::{Ump, sysex7};

fuzz_target!(|data: &[u8]| {
    let mut seen = Vec::new();
    let mut parser = Parser::new(0);
    // In two pieces, as if it came in two reads.
    let (first, second) = data.split_at(data.len() / 2);
    parser.feed(first, &mut |parsed| seen.push(parsed));
    parser.feed(second, &mut |parsed| seen.push(parsed));
    assert!(parser.dropped() + parser.held() <= data.len() as u64);

    // A SysEx that was cancelled has no bytes of its own: its pieces go.
    let mut packets = Vec::new();
    let mut begun = None;
    for parsed in &seen {
        match (parsed, begun) {
            (Parsed::Message(packet), _) => {
                if let Some((part, _)) = sysex7::payload(packet) {
                    assert_eq!(part.begins(), begun.is_none());
                    begun = (!part.ends()).then_some(begun.unwrap_or(packets.len()));
                }
                packets.push(*packet);
            }
            (Parsed::Cancelled, Some(start)) => {
                let pieces = packets.split_off(start);
                packets.extend(pieces.into_iter().filter(|p| sysex7::payload(p).is_none()));
                begun = None;
            }
            (Parsed::Cancelled, None) => {}
        }
    }
    packets.truncate(begun.unwrap_or(packets.len()));

    for mut writer in [Writer::new(), Writer::with_running_status()] {
        let mut bytes = Vec::new();
        for packet in &packets {
            bytes.extend_from_slice(&writer.write(packet).expect("it came from bytes"));
        }
        let mut again = Vec::new();
        let mut parser = Parser::new(0);
        parser.feed(&bytes, &mut |parsed| again.push(parsed));
        // Where in a SysEx a real-time byte stood depends on where its packets are cut.
        let again = again.iter().map(|parsed| match parsed {
            Parsed::Message(packet) => *packet,
            Parsed::Cancelled => unreachable!("whole messages cancel nothing"),
        });
        let (pieces, others): (Vec<Ump>, Vec<Ump>) = again.partition(is_sysex);
        assert!(pieces.iter().eq(packets.iter().filter(|p| is_sysex(p))));
        assert!(others.iter().eq(packets.iter().filter(|p| !is_sysex(p))));
        assert_eq!(parser.dropped() + parser.held(), 0);
    }
});

fn is_sysex(packet: &Ump) -> bool {
    sysex7::payload(packet).is_some()
}
