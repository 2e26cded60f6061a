//! Flex Data: what a score says beside its notes, M2-104-UM § 7.5.

use super::Raw;
use crate::sysex7::Part;

/// A Flex Data message. Tempo, time signature and metronome are always for the whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flex {
    /// How long a quarter note is.
    Tempo {
        /// In units of 10 ns.
        quarter_note_ten_ns: u32,
    },
    /// The time signature.
    TimeSignature {
        /// Beats in a bar; 0: not standard.
        numerator: u8,
        /// A beat is a whole note divided by two to this power; 0: not standard.
        denominator_power: u8,
        /// Notated 32nd notes in 24 MIDI clocks.
        thirty_second_notes: u8,
    },
    /// What a metronome clicks.
    Metronome {
        /// MIDI clocks in a primary click.
        clocks_per_click: u8,
        /// Clicks between accents, up to three of them.
        accents: [u8; 3],
        /// Clicks in a primary click, in two layers.
        subdivisions: [u8; 2],
    },
    /// The key.
    KeySignature {
        /// Whom it is for.
        target: Target,
        /// Sharps, or flats below 0: -7 to 7, -8: not standard.
        sharps: i8,
        /// The tonic.
        tonic: Tonic,
    },
    /// The chord.
    Chord {
        /// Whom it is for.
        target: Target,
        /// The chord.
        chord: Chord,
    },
    /// Twelve bytes of a text in UTF-8, filled up with zeros.
    Text {
        /// Whom it is for.
        target: Target,
        /// What the text is.
        kind: TextKind,
        /// Which piece of it.
        part: Part,
        /// The bytes; a packet may end within a character.
        bytes: [u8; 12],
    },
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One channel, 0–15.
    Channel(u8),
    /// The group.
    Group,
}

/// The name of a note, without sharps and flats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Tonic {
    /// Not known, or none.
    #[default]
    None = 0,
    A = 1,
    B = 2,
    C = 3,
    D = 4,
    E = 5,
    F = 6,
    G = 7,
}

impl Tonic {
    const ALL: [Self; 8] =
        [Self::None, Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G];
}

/// A note by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pitch {
    /// Its letter.
    pub tonic: Tonic,
    /// Sharps, or flats below 0: -8 to 7.
    pub sharps: i8,
}

impl Pitch {
    fn read(byte: u8) -> Option<Self> {
        let tonic = *Tonic::ALL.get(usize::from(byte & 0xF))?;
        Some(Self { tonic, sharps: signed4(byte >> 4) })
    }

    const fn byte(self) -> u8 {
        let [sharps] = self.sharps.to_be_bytes();
        (sharps << 4) | self.tonic as u8
    }
}

/// How one degree of a chord is altered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alteration {
    /// 0 not, 1 added, 2 left out, 3 raised, 4 lowered; 0–15.
    pub kind: u8,
    /// The degree, 0–15.
    pub degree: u8,
}

impl Alteration {
    const fn read(byte: u8) -> Self {
        Self { kind: byte >> 4, degree: byte & 0xF }
    }

    const fn byte(self) -> u8 {
        (self.kind << 4) | (self.degree & 0xF)
    }
}

/// A chord, and what stands in the bass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chord {
    /// Its root.
    pub root: Pitch,
    /// Its kind, by the table of § 7.5.9: 1 major, 7 minor, 0D dominant.
    pub kind: u8,
    /// What is altered.
    pub alterations: [Alteration; 4],
    /// The bass note; without a letter, the root.
    pub bass: Pitch,
    /// The kind of the chord in the bass.
    pub bass_kind: u8,
    /// What is altered in the bass.
    pub bass_alterations: [Alteration; 2],
}

/// What a text is. The number is bank and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum TextKind {
    /// Metadata of no known kind.
    Metadata = 0x0100,
    ProjectName = 0x0101,
    CompositionName = 0x0102,
    MidiClipName = 0x0103,
    Copyright = 0x0104,
    Composer = 0x0105,
    Lyricist = 0x0106,
    Arranger = 0x0107,
    Publisher = 0x0108,
    PrimaryPerformer = 0x0109,
    AccompanyingPerformer = 0x010A,
    RecordingDate = 0x010B,
    RecordingLocation = 0x010C,
    /// Text that belongs to the performance, of no known kind.
    Performance = 0x0200,
    Lyrics = 0x0201,
    LyricsLanguage = 0x0202,
    Ruby = 0x0203,
    RubyLanguage = 0x0204,
}

impl TextKind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Metadata,
        Self::ProjectName,
        Self::CompositionName,
        Self::MidiClipName,
        Self::Copyright,
        Self::Composer,
        Self::Lyricist,
        Self::Arranger,
        Self::Publisher,
        Self::PrimaryPerformer,
        Self::AccompanyingPerformer,
        Self::RecordingDate,
        Self::RecordingLocation,
        Self::Performance,
        Self::Lyrics,
        Self::LyricsLanguage,
        Self::Ruby,
        Self::RubyLanguage,
    ];
}

impl Flex {
    pub(super) fn read(raw: &Raw) -> Option<Self> {
        let [_, place, bank, status, data @ ..] = *raw;
        let target = match place >> 4 & 3 {
            0 => Target::Channel(place & 0xF),
            1 => Target::Group,
            _ => return None,
        };
        let kind = u16::from_be_bytes([bank, status]);
        Some(match kind {
            0 => Self::Tempo {
                quarter_note_ten_ns: u32::from_be_bytes([data[0], data[1], data[2], data[3]]),
            },
            1 => Self::TimeSignature {
                numerator: data[0],
                denominator_power: data[1],
                thirty_second_notes: data[2],
            },
            2 => Self::Metronome {
                clocks_per_click: data[0],
                accents: [data[1], data[2], data[3]],
                subdivisions: [data[4], data[5]],
            },
            5 => {
                let Pitch { tonic, sharps } = Pitch::read(data[0])?;
                Self::KeySignature { target, sharps, tonic }
            }
            6 => Self::Chord { target, chord: Chord::read(&data)? },
            _ => {
                let kind = TextKind::ALL.into_iter().find(|k| *k as u16 == kind)?;
                Self::Text { target, kind, part: Part::from_number(place >> 6)?, bytes: data }
            }
        })
    }

    pub(super) fn raw(self, group: u8) -> Raw {
        let (kind, target, part) = match self {
            Self::Tempo { .. } => (0, Target::Group, Part::Complete),
            Self::TimeSignature { .. } => (1, Target::Group, Part::Complete),
            Self::Metronome { .. } => (2, Target::Group, Part::Complete),
            Self::KeySignature { target, .. } => (5, target, Part::Complete),
            Self::Chord { target, .. } => (6, target, Part::Complete),
            Self::Text { target, kind, part, .. } => (kind as u16, target, part),
        };
        let address = match target {
            Target::Channel(channel) => channel & 0xF,
            Target::Group => 0x10,
        };
        let [bank, status] = kind.to_be_bytes();
        let mut raw = [0; 16];
        raw[..4].copy_from_slice(&[
            0xD0 | (group & 0xF),
            ((part as u8) << 6) | address,
            bank,
            status,
        ]);
        raw[4..].copy_from_slice(&self.data());
        raw
    }

    fn data(self) -> [u8; 12] {
        match self {
            Self::Tempo { quarter_note_ten_ns } => {
                let [a, b, c, d] = quarter_note_ten_ns.to_be_bytes();
                [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
            }
            Self::TimeSignature { numerator, denominator_power, thirty_second_notes } => {
                [numerator, denominator_power, thirty_second_notes, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            }
            Self::Metronome { clocks_per_click, accents: [a, b, c], subdivisions: [d, e] } => {
                [clocks_per_click, a, b, c, d, e, 0, 0, 0, 0, 0, 0]
            }
            Self::KeySignature { sharps, tonic, .. } => {
                [Pitch { tonic, sharps }.byte(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            }
            Self::Chord { chord, .. } => chord.data(),
            Self::Text { bytes, .. } => bytes,
        }
    }
}

impl Chord {
    fn read(data: &[u8; 12]) -> Option<Self> {
        let [root, kind, a, b, c, d, _, _, bass, bass_kind, e, f] = *data;
        Some(Self {
            root: Pitch::read(root)?,
            kind,
            alterations: [a, b, c, d].map(Alteration::read),
            bass: Pitch::read(bass)?,
            bass_kind,
            bass_alterations: [e, f].map(Alteration::read),
        })
    }

    fn data(self) -> [u8; 12] {
        let [a, b, c, d] = self.alterations.map(Alteration::byte);
        let [e, f] = self.bass_alterations.map(Alteration::byte);
        [self.root.byte(), self.kind, a, b, c, d, 0, 0, self.bass.byte(), self.bass_kind, e, f]
    }
}

/// Four bits in two's complement.
const fn signed4(bits: u8) -> i8 {
    i8::from_be_bytes([bits << 4]) >> 4
}
