//! A MIDI message in words: what `monitor` shows on a terminal.

use std::fmt::Write as _;

use midip2p_midi::json::{self, Message, Record};
use midip2p_midi::view::{Midi1, Midi2, System, View};

/// Bytes of a SysEx that are shown; the rest is counted.
const SYSEX_SHOWN: usize = 16;

/// What kind of message it is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A note begins.
    NoteOn,
    /// A note ends.
    NoteOff,
    /// A controller, a bend, a pressure.
    Control,
    /// A program.
    Program,
    /// System exclusive.
    SysEx,
    /// Clock, transport, and all else.
    Other,
}

/// A message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Its channel as people count, 1–16; empty when it has none.
    pub(super) channel: String,
    /// What it does.
    pub(super) what: String,
    /// What kind it is.
    pub(super) kind: Kind,
}

/// The message in words. Notes, controllers and programs are counted from 0, as in JSONMIDI.
pub(super) fn describe(message: &Message<'_>) -> Words {
    let no_channel = |kind, what| Words { channel: String::new(), what, kind };
    match message {
        Message::Sysex { data, .. } => no_channel(Kind::SysEx, sysex(data)),
        Message::Bytes { .. } => no_channel(Kind::Other, as_json(*message)),
        Message::Ump(packet) => match View::of(*packet) {
            View::Midi1 { channel, message, .. } => on_channel(channel, midi1(message)),
            View::Midi2 { channel, message: voice, .. } => {
                let (kind, what) = midi2(voice);
                on_channel(channel, (kind, what.unwrap_or_else(|| as_json(*message))))
            }
            View::System { message: system, .. } => {
                no_channel(Kind::Other, system_words(system).unwrap_or_else(|| as_json(*message)))
            }
            _ => no_channel(Kind::Other, as_json(*message)),
        },
    }
}

fn on_channel(channel: u8, (kind, what): (Kind, String)) -> Words {
    Words { channel: (channel + 1).to_string(), what, kind }
}

/// The name of a note: 60 is C4.
pub(super) fn note_name(note: u8) -> String {
    const NAMES: [&str; 12] = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
    let octave = i16::from(note) / 12 - 1;
    format!("{}{octave}", NAMES[usize::from(note % 12)])
}

fn midi1(message: Midi1) -> (Kind, String) {
    match message {
        Midi1::NoteOn { note, velocity } => {
            (Kind::NoteOn, format!("note on   {:<4} velocity {velocity}", note_name(note)))
        }
        Midi1::NoteOff { note, velocity } => {
            (Kind::NoteOff, format!("note off  {:<4} velocity {velocity}", note_name(note)))
        }
        Midi1::KeyAftertouch { note, value } => {
            (Kind::Control, format!("pressure  {:<4} {value}", note_name(note)))
        }
        Midi1::ControlChange { controller, value } => (Kind::Control, control(controller, value)),
        Midi1::ProgramChange { program } => (Kind::Program, format!("program   {program}")),
        Midi1::ChannelAftertouch { value } => (Kind::Control, format!("pressure  all  {value}")),
        Midi1::PitchBend { value } => {
            (Kind::Control, format!("bend      {:+}", i32::from(value) - 0x2000))
        }
    }
}

fn control(controller: u8, value: u8) -> String {
    let name = controller_name(controller);
    let space = if name.is_empty() { "" } else { " " };
    format!("CC {controller:<3}    {name}{space}{value}")
}

/// The notes of MIDI 2.0 in words; the kind of all else, for which JSON says more.
fn midi2(message: Midi2) -> (Kind, Option<String>) {
    match message {
        Midi2::NoteOn { note, velocity, .. } => (
            Kind::NoteOn,
            Some(format!("note on   {:<4} velocity {velocity} of 65535", note_name(note))),
        ),
        Midi2::NoteOff { note, velocity, .. } => (
            Kind::NoteOff,
            Some(format!("note off  {:<4} velocity {velocity} of 65535", note_name(note))),
        ),
        _ => (Kind::Control, None),
    }
}

fn system_words(message: System) -> Option<String> {
    Some(match message {
        System::SongPosition(sixteenths) => {
            format!("song position, beat {}", f64::from(sixteenths) / 4.0 + 1.0)
        }
        System::SongSelect(song) => format!("song {song}"),
        System::TuneRequest => "tune request".to_owned(),
        System::Clock => "clock".to_owned(),
        System::Start => "start".to_owned(),
        System::Continue => "continue".to_owned(),
        System::Stop => "stop".to_owned(),
        System::ActiveSensing => "active sensing".to_owned(),
        System::Reset => "reset".to_owned(),
        _ => return None,
    })
}

fn sysex(data: &[u8]) -> String {
    let mut text = format!("SysEx     {} bytes ", data.len());
    for byte in data.iter().take(SYSEX_SHOWN) {
        // Writing to a string does not fail.
        let _ = write!(text, " {byte:02x}");
    }
    if data.len() > SYSEX_SHOWN {
        text.push('…');
    }
    if let Some(name) = sysex_name(data) {
        text.push_str(&format!("  ({name})"));
    }
    text
}

const fn sysex_name(data: &[u8]) -> Option<&'static str> {
    Some(match data {
        [0x7E, _, 0x09, 0x01] => "GM on",
        [0x7E, _, 0x09, 0x02] => "GM off",
        [0x7E, _, 0x09, 0x03] => "GM2 on",
        [0x7E, _, 0x06, 0x01] => "who are you?",
        [0x7E, _, 0x06, 0x02, ..] => "who I am",
        [0x7E, _, 0x0D, ..] => "MIDI-CI",
        [0x7F, _, 0x04, 0x01, ..] => "master volume",
        [0x7F, _, 0x01, 0x01, ..] => "time code",
        [0x7F, _, 0x06, ..] => "machine control",
        [0x41, _, 0x42, 0x12, 0x40, 0x00, 0x7F, 0x00, ..] => "GS reset",
        [0x43, _, 0x4C, 0x00, 0x00, 0x7E, 0x00] => "XG on",
        _ => return None,
    })
}

fn as_json(message: Message<'_>) -> String {
    let mut text = String::new();
    // Only a SysEx of eight bits has no form, and that is not asked for.
    let _ = json::write(&Record::from(message), &mut text);
    text
}

/// What a controller is called; nothing for those without a name.
const fn controller_name(controller: u8) -> &'static str {
    match controller {
        0 => "bank",
        1 => "modulation",
        2 => "breath",
        4 => "foot",
        5 => "portamento time",
        6 => "data entry",
        7 => "volume",
        8 => "balance",
        10 => "pan",
        11 => "expression",
        32 => "bank (fine)",
        38 => "data entry (fine)",
        64 => "sustain",
        65 => "portamento",
        66 => "sostenuto",
        67 => "soft pedal",
        68 => "legato",
        69 => "hold 2",
        71 => "resonance",
        72 => "release",
        73 => "attack",
        74 => "cutoff",
        84 => "portamento from",
        91 => "reverb",
        93 => "chorus",
        96 => "increment",
        97 => "decrement",
        98 => "NRPN (fine)",
        99 => "NRPN",
        100 => "RPN (fine)",
        101 => "RPN",
        120 => "all sound off",
        121 => "reset controllers",
        122 => "local control",
        123 => "all notes off",
        124 => "omni off",
        125 => "omni on",
        126 => "mono",
        127 => "poly",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use midip2p_midi::Ump;

    use super::*;

    #[test]
    fn messages_are_told_in_words() {
        let midi = |status, a, b| Message::Ump(Ump::midi1(0, status, a, b));
        for (message, channel, what) in [
            (midi(0x90, 60, 100), "1", "note on   C4   velocity 100"),
            (midi(0x8F, 127, 64), "16", "note off  G9   velocity 64"),
            (midi(0x90, 1, 1), "1", "note on   C#-1 velocity 1"),
            (midi(0xB0, 64, 127), "1", "CC 64     sustain 127"),
            (midi(0xB0, 3, 1), "1", "CC 3      1"),
            (midi(0xC9, 5, 0), "10", "program   5"),
            (midi(0xE0, 0, 0x40), "1", "bend      +0"),
            (midi(0xE0, 0, 0), "1", "bend      -8192"),
            (Message::Ump(Ump::system(0, 0xFA, 0, 0)), "", "start"),
            (Message::Ump(Ump::system(0, 0xF2, 0, 1)), "", "song position, beat 33"),
            (
                Message::Sysex { group: 0, data: &[0x7E, 0x7F, 0x09, 0x01] },
                "",
                "SysEx     4 bytes  7e 7f 09 01  (GM on)",
            ),
        ] {
            let words = describe(&message);
            assert_eq!((words.channel.as_str(), words.what.as_str()), (channel, what));
        }
    }

    #[test]
    fn every_first_word_has_words() {
        // Whatever the type, status and data: something is said, and nothing that acts on a terminal.
        for head in 0..=0xFFFF_u32 {
            let mut words = [head << 16 | 0x4055, 0x0102_0304, 0, 0];
            words[0] |= 0x0A;
            let Some((packet, _)) = Ump::split_first(&words) else {
                panic!("four words are enough")
            };
            let said = describe(&Message::Ump(packet)).what;
            assert!(!said.is_empty() && !said.chars().any(char::is_control), "{packet:?}");
        }
    }

    #[test]
    fn notes_have_the_names_that_c4_is_60_gives() {
        let names = [0, 21, 59, 60, 61, 108, 127].map(note_name);
        assert_eq!(names, ["C-1", "A0", "B3", "C4", "C#4", "C8", "G9"]);
    }
}
