//! Why a file cannot be played, in words for musicians.

use std::fmt;

/// A file that cannot be read, or that is not a whole Standard MIDI File.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmfError {
    /// The system could not read it.
    #[error("{name}: cannot be read: {source}")]
    Io {
        /// The file, as it was named by the caller.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It could be read, but it is broken.
    #[error("{name}: at byte {}: {fault}", Thousands(*.offset))]
    Broken {
        /// The file, as it was named by the caller.
        name: String,
        /// Where the fault is: bytes before it, so the first byte of the file is byte 0.
        offset: usize,
        /// What is wrong there.
        fault: Fault,
    },
}

/// What is wrong with a Standard MIDI File. Tracks are counted from 1, as people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// More than [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    #[error("the file is larger than {} bytes, more than any piece of music needs", Thousands(*.limit))]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The file holds no byte at all.
    #[error("the file is empty")]
    Empty,
    /// It begins with neither `MThd` nor `RIFF`.
    #[error("this is not a MIDI file: it does not begin with \"MThd\"")]
    NotMidi,
    /// RIFF, but of another kind (sound, video) or without a `data` chunk.
    #[error("this RIFF file holds no MIDI: it is not of kind \"RMID\" with a \"data\" chunk")]
    NotRmid,
    /// The file ends within its header.
    #[error("the header is not whole; the file is cut off")]
    HeaderCut,
    /// The header chunk says it is shorter than the six bytes that every header has.
    #[error("the header says it has {length} bytes, but a header has at least 6")]
    HeaderShort {
        /// The length it gives.
        length: u32,
    },
    /// A format other than 0, 1 and 2.
    #[error("the file is of format {format}; known are 0, 1 and 2")]
    UnknownFormat {
        /// The format it gives.
        format: u16,
    },
    /// Ticks without length.
    #[error("the header says that a beat (or a frame) has no ticks at all, so time cannot be told")]
    DivisionZero,
    /// SMPTE time of an unknown kind.
    #[error("the header counts {frames} SMPTE frames a second; known are 24, 25, 29 (drop) and 30")]
    UnknownFrameRate {
        /// Frames per second, as given.
        frames: u8,
    },
    /// A header that announces no music.
    #[error("the header says that the file has no tracks")]
    NoTracks,
    /// Fewer tracks than the header says, and the file ends at the border of two.
    #[error("the file ends after {found} of {declared} tracks; it is cut off")]
    TracksMissing {
        /// What the header says.
        declared: u16,
        /// What is there.
        found: u16,
    },
    /// A track beyond those of the header.
    #[error("the header says there are {declared} tracks, but here another one begins")]
    TracksTooMany {
        /// What the header says.
        declared: u16,
    },
    /// A second `MThd`.
    #[error("a second header begins where track {track} should")]
    HeaderTwice {
        /// The track that should have begun.
        track: u16,
    },
    /// The file ends within the eight bytes that begin a chunk.
    #[error("the beginning of track {track} is not whole; the file is cut off")]
    ChunkHeaderCut {
        /// The track that should have begun.
        track: u16,
    },
    /// A chunk that claims more bytes than the file has.
    #[error(
        "{what} should have {} bytes, but the file has only {} more; it is cut off, or the length is wrong",
        Thousands(*.length), Thousands(*.available)
    )]
    ChunkTooLong {
        /// The track, or another chunk.
        what: Chunk,
        /// The length it claims, in bytes.
        length: usize,
        /// How many bytes follow.
        available: usize,
    },
    /// Where a chunk should begin there is something else.
    #[error(
        "neither a track nor any other chunk begins here, where track {track} should; \
         the length of the chunk before it is wrong"
    )]
    NotAChunk {
        /// The track that should have begun.
        track: u16,
    },
    /// The last track has no end mark, and what follows it is no chunk.
    #[error("track {track} has no end, but other bytes follow it; its length is wrong")]
    TrackShort {
        /// The track.
        track: u16,
    },
    /// The bytes of the track are used up within an event.
    #[error(
        "track {track} ends in the middle of {part}; the file is cut off, or a length is wrong"
    )]
    EventCut {
        /// The track.
        track: u16,
        /// What was being read.
        part: Part,
    },
    /// A number of variable length that does not end after four bytes.
    #[error("track {track}: the number that gives {part} is longer than 4 bytes")]
    NumberTooLong {
        /// The track.
        track: u16,
        /// What it gives.
        part: Part,
    },
    /// Running status at the start of a track.
    #[error(
        "track {track} begins with data {byte:02X} instead of an event: \
         running status does not reach from one track into the next"
    )]
    NoStatusAtStart {
        /// The track.
        track: u16,
        /// The data byte.
        byte: u8,
    },
    /// Running status that was ended by SysEx or a meta event.
    #[error(
        "track {track}: data {byte:02X} instead of an event: \
         a SysEx or meta event before it has ended the running status"
    )]
    NoStatus {
        /// The track.
        track: u16,
        /// The data byte.
        byte: u8,
    },
    /// A status byte among the data bytes of a message.
    #[error("track {track}: {byte:02X} stands where data of the message {status:02X} should")]
    StatusInData {
        /// The track.
        track: u16,
        /// The message's status byte.
        status: u8,
        /// What stands there.
        byte: u8,
    },
    /// F1–F6 or F8–FE as an event.
    #[error("track {track}: {status:02X} cannot be an event of a file (only inside an escape, F7)")]
    SystemStatus {
        /// The track.
        track: u16,
        /// The status byte.
        status: u8,
    },
    /// A tempo event that has not three bytes.
    #[error("track {track}: a tempo has 3 bytes, not {length}")]
    TempoLength {
        /// The track.
        track: u16,
        /// How many there are.
        length: usize,
    },
    /// A tempo at which a beat takes no time.
    #[error("track {track}: a tempo of no time per beat")]
    TempoZero {
        /// The track.
        track: u16,
    },
    /// More than [`MAX_EVENTS`](super::MAX_EVENTS).
    #[error("there are more than {} events up to here, more than any piece of music needs", Thousands(*.limit))]
    TooManyEvents {
        /// The limit.
        limit: usize,
    },
    /// Longer than [`MAX_DURATION`](super::MAX_DURATION).
    #[error("the music would last longer than a year; a length of time in it is wrong")]
    TooLong,
    /// The reader could not tell; kept so that no event is ever passed over in silence.
    #[error("track {track}: this is not an event")]
    NotAnEvent {
        /// The track.
        track: u16,
    },
}

/// Which chunk of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// A track, counted from 1.
    Track(u16),
    /// The header.
    Header,
    /// RIFF's `data` chunk, the MIDI file inside.
    Data,
    /// One of a kind that is skipped.
    Other,
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Track(number) => write!(f, "track {number}"),
            Self::Header => f.write_str("the header"),
            Self::Data => f.write_str("the MIDI data"),
            Self::Other => f.write_str("a chunk that is no track"),
        }
    }
}

/// Which part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The time before it.
    Delta,
    /// Its message.
    Event,
    /// A SysEx (or F7 escape) or its length.
    SysEx,
    /// A meta event (text, tempo …) or its length.
    Meta,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta => "the time before an event",
            Self::Event => "an event",
            Self::SysEx => "a SysEx",
            Self::Meta => "a meta event",
        })
    }
}

/// A number with its thousands apart: `1,024`.
struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.char_indices() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_024, "1,024"),
            (173_838, "173,838"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(Thousands(number).to_string(), text);
        }
    }

    #[test]
    fn a_fault_names_file_place_and_reason() {
        let fault = Fault::EventCut { track: 3, part: Part::Event };
        let error = SmfError::Broken { name: "prelude.mid".into(), offset: 1024, fault };
        assert_eq!(
            error.to_string(),
            "prelude.mid: at byte 1,024: track 3 ends in the middle of an event; \
             the file is cut off, or a length is wrong"
        );
    }
}
