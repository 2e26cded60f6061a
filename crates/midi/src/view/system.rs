//! Utility and system messages, M2-104-UM § 7.2 and 7.6.

use super::{Raw, from_lsb_first, lsb_first, raw};

/// Messages about the stream of packets itself. Ticks of jitter reduction are 1/31,250 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utility {
    /// Nothing.
    Noop,
    /// The sender's clock now, in ticks.
    JrClock(u16),
    /// The sender's clock when the next message was made, in ticks.
    JrTimestamp(u16),
    /// How many ticks of delta clock stamps make a quarter note.
    TicksPerQuarterNote(u16),
    /// Ticks since the last event; 20 bits.
    DeltaClockstamp(u32),
}

impl Utility {
    pub(super) fn read(raw: &Raw) -> Option<Self> {
        let ticks = u16::from_be_bytes([raw[2], raw[3]]);
        Some(match raw[1] >> 4 {
            0 => Self::Noop,
            1 => Self::JrClock(ticks),
            2 => Self::JrTimestamp(ticks),
            3 => Self::TicksPerQuarterNote(ticks),
            4 => Self::DeltaClockstamp(u32::from_be_bytes([0, raw[1] & 0xF, raw[2], raw[3]])),
            _ => return None,
        })
    }

    pub(super) fn raw(self) -> Raw {
        let (status, data) = match self {
            Self::Noop => (0, 0),
            Self::JrClock(ticks) => (1, u32::from(ticks)),
            Self::JrTimestamp(ticks) => (2, u32::from(ticks)),
            Self::TicksPerQuarterNote(ticks) => (3, u32::from(ticks)),
            Self::DeltaClockstamp(ticks) => (4, ticks & 0xF_FFFF),
        };
        raw(&((status << 20) | data).to_be_bytes())
    }
}

/// System common and system real-time messages, the same in MIDI 1.0 and 2.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// A quarter frame of MIDI time code: which piece in the upper three of seven bits.
    Timecode(u8),
    /// The position in the song, in sixteenth notes; 14 bits.
    SongPosition(u16),
    /// The song, 0–127.
    SongSelect(u8),
    /// Tune yourself.
    TuneRequest,
    /// One of 24 in a quarter note.
    Clock,
    /// Play from the beginning.
    Start,
    /// Play from where you stopped.
    Continue,
    /// Stop playing.
    Stop,
    /// Still here.
    ActiveSensing,
    /// As after power-up.
    Reset,
}

impl System {
    pub(super) fn read(raw: &Raw) -> Option<Self> {
        let value = raw[2] & 0x7F;
        Some(match raw[1] {
            0xF1 => Self::Timecode(value),
            0xF2 => Self::SongPosition(from_lsb_first(raw[2], raw[3])),
            0xF3 => Self::SongSelect(value),
            0xF6 => Self::TuneRequest,
            0xF8 => Self::Clock,
            0xFA => Self::Start,
            0xFB => Self::Continue,
            0xFC => Self::Stop,
            0xFE => Self::ActiveSensing,
            0xFF => Self::Reset,
            _ => return None,
        })
    }

    pub(super) fn raw(self, group: u8) -> Raw {
        let (status, [data1, data2]) = match self {
            Self::Timecode(value) => (0xF1, [value & 0x7F, 0]),
            Self::SongPosition(position) => (0xF2, lsb_first(position)),
            Self::SongSelect(song) => (0xF3, [song & 0x7F, 0]),
            Self::TuneRequest => (0xF6, [0, 0]),
            Self::Clock => (0xF8, [0, 0]),
            Self::Start => (0xFA, [0, 0]),
            Self::Continue => (0xFB, [0, 0]),
            Self::Stop => (0xFC, [0, 0]),
            Self::ActiveSensing => (0xFE, [0, 0]),
            Self::Reset => (0xFF, [0, 0]),
        };
        raw(&[0x10 | (group & 0xF), status, data1, data2])
    }
}
