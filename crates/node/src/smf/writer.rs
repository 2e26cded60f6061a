//! Writes Standard MIDI Files for the tests, whole and broken ones.

/// A chunk of any kind.
pub(super) fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [kind.as_slice(), &length.to_be_bytes(), body].concat()
}

pub(super) fn header(format: u16, tracks: u16, division: u16) -> Vec<u8> {
    chunk(b"MThd", &[format, tracks, division].map(u16::to_be_bytes).concat())
}

/// A file of these tracks, given as the bytes of their events.
pub(super) fn file(format: u16, division: u16, tracks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = header(format, u16::try_from(tracks.len()).unwrap(), division);
    for track in tracks {
        bytes.extend(chunk(b"MTrk", track));
    }
    bytes
}

/// A number of variable length.
pub(super) fn number(value: u32) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(value & 0x7F).unwrap()];
    let mut rest = value >> 7;
    while rest > 0 {
        bytes.insert(0, 0x80 | u8::try_from(rest & 0x7F).unwrap());
        rest >>= 7;
    }
    bytes
}

/// What a track may hold.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Status and data bytes.
    Voice(Vec<u8>),
    /// Cut into packets after each of these many bytes.
    SysEx(Vec<u8>, Vec<usize>),
    /// A whole system message in an F7 event.
    Escape(Vec<u8>),
    Tempo(u32),
    /// A meta event of another type.
    Meta(u8, Vec<u8>),
}

pub(super) const END: [u8; 4] = [0, 0xFF, 0x2F, 0];

/// The events of a track, with running status where `running` says so, and with an end mark.
pub(super) fn track(items: &[(u32, Item)], running: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut status = None;
    for (delta, item) in items {
        bytes.extend(number(*delta));
        match item {
            Item::Voice(message) if running && status == Some(message[0]) => {
                bytes.extend(&message[1..]);
                continue;
            }
            Item::Voice(message) => {
                bytes.extend(message);
                status = Some(message[0]);
                continue;
            }
            Item::SysEx(data, cuts) => sysex(data, cuts, &mut bytes),
            Item::Escape(data) => payload(&[0xF7], data, &mut bytes),
            Item::Tempo(us) => payload(&[0xFF, 0x51], &us.to_be_bytes()[1..], &mut bytes),
            Item::Meta(kind, data) => payload(&[0xFF, *kind], data, &mut bytes),
        }
        status = None;
    }
    bytes.extend(END);
    bytes
}

fn sysex(data: &[u8], cuts: &[usize], bytes: &mut Vec<u8>) {
    let whole = [data, &[0xF7]].concat();
    let mut rest = whole.as_slice();
    let mut status = 0xF0;
    for cut in cuts.iter().filter(|cut| **cut > 0) {
        if *cut < rest.len() {
            let (packet, later) = rest.split_at(*cut);
            payload(&[status], packet, bytes);
            bytes.push(0);
            (rest, status) = (later, 0xF7);
        }
    }
    payload(&[status], rest, bytes);
}

fn payload(status: &[u8], data: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend(status);
    bytes.extend(number(u32::try_from(data.len()).unwrap()));
    bytes.extend(data);
}
