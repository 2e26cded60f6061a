//! JSONMIDI against `serde_json` and `sonic-rs` with an internally tagged enum, as one would write it.
//!
//! What the figures are not: the enum knows MIDI 1.0 alone, checks numbers against 8 or 16 bits rather
//! than 7 or 14, passes over unknown keys, and gives no packet. The text is canonical.

use std::hint::black_box;

use midip2p_midi::Ump;
use midip2p_midi::json::{self, Message, Record};
use serde::{Deserialize, Serialize};

use crate::measure::{Rival, compare};
use crate::row::{Check, Figures, Row};

const MESSAGES: usize = 64;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Tagged {
    NoteOn {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        note: u8,
        velocity: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    NoteOff {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        note: u8,
        velocity: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    KeyAftertouch {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        note: u8,
        value: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    ControlChange {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        controller: u8,
        value: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    ProgramChange {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        program: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    ChannelAftertouch {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        value: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    PitchBend {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        channel: u8,
        value: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    SongPosition {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        value: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Clock {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Start {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Continue {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Stop {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    ActiveSensing {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Reset {
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
}

/// Both comparisons, a row for each rival; the first rival is the one that the target names.
pub(crate) fn run(rounds: usize) -> Vec<Row> {
    let packets = packets();
    let lines: Vec<String> = packets.iter().map(line).collect();
    let tagged: Vec<Tagged> = lines.iter().map(|l| parse(l)).collect();
    check(&packets, &lines, &tagged);
    let bytes: usize = lines.iter().map(String::len).sum();
    let remark = format!(
        "tagged enums; {MESSAGES} messages of {} bytes on average, p99 and max are of batches",
        bytes / MESSAGES
    );
    let mut rows = Vec::new();
    for (what, faster, measured) in [
        ("decode", 10.0, decode(&lines, rounds)),
        ("encode", 2.5, encode(&packets, &tagged, rounds)),
    ] {
        let Some(((_, ours), rivals)) = measured.split_first() else { continue };
        for (n, (rival, figures)) in rivals.iter().enumerate() {
            let target = vec![Check::RatioAtMost("p50", 1.0 / faster), Check::AtMost("p50", 30.0)];
            rows.push(Row {
                name: format!("JSONMIDI {what} beside {rival}"),
                unit: "ns per message",
                ours: ours.clone(),
                yardstick: Some((*rival, figures.clone())),
                checks: if n == 0 { target } else { vec![] },
                remark: remark.clone(),
            });
        }
    }
    rows
}

/// Notes for the most part, then controllers, then the rest: always the same ones.
fn packets() -> Vec<Record<'static>> {
    let mut seed = 1_u32;
    let mut next = |limit: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % limit
    };
    let mut byte = move |limit| u8::try_from(next(limit)).expect("limits are below 256");
    (0..MESSAGES)
        .map(|i| {
            let (channel, data1, data2) = (byte(16), byte(128), byte(128));
            let packet = match byte(16) {
                0..=3 => Ump::midi1(0, 0x90 | channel, data1, data2),
                4..=7 => Ump::midi1(0, 0x80 | channel, data1, data2),
                8..=11 => Ump::midi1(0, 0xB0 | channel, data1, data2),
                12 => Ump::midi1(0, 0xE0 | channel, data1, data2),
                13 => Ump::midi1(1, 0xD0 | channel, data1, 0),
                14 => Ump::midi1(0, 0xC0 | channel, data1, 0),
                _ => Ump::system(0, 0xF8, 0, 0),
            };
            Record { time: (i % 4 == 0).then_some(1_234_567 + i as u64), ..packet.into() }
        })
        .collect()
}

fn line(record: &Record<'_>) -> String {
    let mut line = String::new();
    json::write(record, &mut line).expect("a string takes all");
    line
}

fn parse(line: &str) -> Tagged {
    serde_json::from_str(line).expect("the rival knows these messages")
}

/// All three read and write the same.
fn check(packets: &[Record<'_>], lines: &[String], tagged: &[Tagged]) {
    for ((record, line), tagged) in packets.iter().zip(lines).zip(tagged) {
        let mut scratch = [0; 256];
        assert_eq!(json::decode(line.as_bytes(), &mut scratch), Ok(*record), "{line}");
        assert_eq!(&sonic_rs::from_str::<Tagged>(line).expect("sonic reads"), tagged);
        assert_eq!(&serde_json::to_string(tagged).expect("serde_json writes"), line);
        assert_eq!(&sonic_rs::to_string(tagged).expect("sonic writes"), line);
    }
}

fn decode(lines: &[String], rounds: usize) -> Vec<(&'static str, Figures)> {
    let ours = || {
        let mut scratch = [0; 256];
        for line in lines {
            let record = json::decode(black_box(line.as_bytes()), &mut scratch);
            let Ok(Record { message: Message::Ump(packet), .. }) = record else { continue };
            black_box(packet);
        }
    };
    let sonic = || {
        for line in lines {
            black_box(sonic_rs::from_slice::<Tagged>(black_box(line.as_bytes())).ok());
        }
    };
    let serde = || {
        for line in lines {
            black_box(serde_json::from_slice::<Tagged>(black_box(line.as_bytes())).ok());
        }
    };
    let rivals = vec![
        Rival::new("ours", ours),
        Rival::new("sonic-rs", sonic),
        Rival::new("serde_json", serde),
    ];
    compare(lines.len(), rounds, rivals)
}

fn encode(
    packets: &[Record<'_>],
    tagged: &[Tagged],
    rounds: usize,
) -> Vec<(&'static str, Figures)> {
    let mut buffer = [0; 256];
    let ours = || {
        for record in packets {
            black_box(json::encode(black_box(record), &mut buffer).ok());
            black_box(&buffer);
        }
    };
    // One vector for all, as who cares for speed would have it.
    let mut sonic_out = Vec::with_capacity(256);
    let sonic = || {
        for message in tagged {
            sonic_out.clear();
            black_box(sonic_rs::to_writer(&mut sonic_out, black_box(message)).ok());
            black_box(&sonic_out);
        }
    };
    let mut serde_out = Vec::with_capacity(256);
    let serde = || {
        for message in tagged {
            serde_out.clear();
            black_box(serde_json::to_writer(&mut serde_out, black_box(message)).ok());
            black_box(&serde_out);
        }
    };
    let rivals = vec![
        Rival::new("ours", ours),
        Rival::new("sonic-rs", sonic),
        Rival::new("serde_json", serde),
    ];
    compare(packets.len(), rounds, rivals)
}
