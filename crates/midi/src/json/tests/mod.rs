//! JSONMIDI against its own rules, and against readers of JSON and MIDI that are not ours.

mod invariant;
mod oracle;
mod strict;
mod table;

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::MessageType;

/// The canonical text of a record.
fn text(record: &Record<'_>) -> String {
    let mut out = String::new();
    write(record, &mut out).unwrap();
    out
}

fn packet_text(packet: Ump) -> String {
    text(&packet.into())
}

/// Decodes a text that has to be one packet.
fn packet_of(text: &str) -> Result<Ump, DecodeError> {
    let mut scratch = std::vec![0; text.len()];
    let record = decode(text.as_bytes(), &mut scratch)?;
    match record.message {
        Message::Ump(packet) => Ok(packet),
        other => panic!("{other:?} is no packet"),
    }
}

/// Any packet of any message type: random, or of a typed form and then perhaps a bit off.
fn packets() -> impl Strategy<Value = Ump> {
    let any_bits = any::<u128>().prop_map(Ump::from_bits);
    prop_oneof![1 => any_bits, 4 => typed(), 2 => nearly_typed()]
}

/// A packet whose bits outside the fields are those of a typed form.
fn typed() -> impl Strategy<Value = Ump> {
    let rows: Vec<_> = schema::all_rows().collect();
    let fill = prop_oneof![
        any::<u128>(),
        // Few bits set: optional keys are left out, counts are small, texts end early.
        (any::<u128>(), any::<u128>(), any::<u128>()).prop_map(|(a, b, c)| a & b & c),
        "[a-zé€😀\0\"\\\\\n]{0,8}".prop_map(|text| {
            let mut bytes = [0; 16];
            for (place, byte) in bytes[4..].iter_mut().zip(text.bytes()) {
                *place = byte;
            }
            u128::from_be_bytes(bytes)
        }),
        Just(0),
    ];
    (prop::sample::select(rows), fill).prop_map(|(row, fill)| {
        let free = row.fields.iter().fold(0, |all, field| all | field.mask());
        Ump::from_bits(row.pattern() | (fill & free))
    })
}

fn nearly_typed() -> impl Strategy<Value = Ump> {
    (typed(), 0..128_u32).prop_map(|(packet, bit)| Ump::from_bits(packet.bits() ^ (1 << bit)))
}
