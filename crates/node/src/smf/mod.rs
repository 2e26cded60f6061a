//! Standard MIDI Files: a file in, its events in playing order out, each with its exact time.
//!
//! A musician's file is either played as it was written or refused with the place and the reason: a
//! reader that guesses plays wrong notes. So everything that would change what sounds is an error
//! ([`Fault`]), and everything that players agree to pass over is passed over:
//!
//! ```text
//! bytes ▸ chunks (RIFF, header, tracks) ▸ track (events, by midly) ▸ packets (SysEx, escapes)
//!       ▸ merged by tick, then track, then order in the track ▸ tempo (ticks to time) ▸ Song
//! ```
//!
//! What the standard (RP-001, Standard MIDI Files 1.0) leaves open, and what good players do:
//!
//! - Format 0 or 1: all tracks sound together. Format 2: one after the other, each at 120 beats a
//!   minute until it names another tempo.
//! - A tempo in any track counts for all. Without any, 120. In SMPTE time tempo counts for nothing.
//! - A SysEx in several packets is one event, at the time of the last. One without its F7 is played
//!   with it and counted. A SysEx with another message's status byte among its data is none, as for
//!   any receiver; its bytes, and those of escapes that belong to no message, are counted ([`Counts`]).
//! - A track without an end mark is whole if its chunk ends where the next one, or the file, ends. What
//!   stands behind an end mark, in chunks of other kinds, or behind the last track is not music.
//! - Running status ends with its track, and at SysEx and meta events, as the standard has it.
//! - RIFF files of kind RMID are unwrapped.
//!
//! A file that is cut off is an error wherever the cut, unless all it has lost stood behind the last
//! track.
//!
//! Limits: files of [`MAX_FILE_BYTES`], music of [`MAX_DURATION`], [`MAX_EVENTS`]. Memory is at most a
//! small multiple of the size of the file, since every event takes a byte of it at least.

mod chunks;
mod diagnose;
mod error;
mod packets;
mod tempo;
mod track;

pub mod player;
pub mod sounding;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod writer;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use midip2p_midi::Ump;
use midip2p_proto::time::Span;

pub use chunks::Format;
pub use error::{Chunk, Fault, Part, SmfError};
use tempo::TempoWalk;

/// The largest file that is read, in bytes: 64 MiB. The largest in common use, arrangements of
/// millions of notes made to be looked at, stay below.
pub const MAX_FILE_BYTES: usize = 64 << 20;

/// The longest piece that is played: a year. Whatever is longer has a broken length of time in it.
pub const MAX_DURATION: Span = Span::from_s(365 * 24 * 60 * 60);

/// The most events of a piece: 16 million, three quarters of a gigabyte in memory.
pub const MAX_EVENTS: usize = 1 << 24;

/// A piece of music, ready to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Song {
    events: Vec<SongEvent>,
    tempos: Vec<TempoChange>,
    format: Format,
    tracks: u16,
    duration: Span,
    title: Option<String>,
    counts: Counts,
}

/// Something that is sent at a moment of the piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SongEvent {
    /// Time since the beginning of the piece, exact, rounded down to the nanosecond.
    pub at: Span,
    /// The same in ticks of the file.
    pub tick: u64,
    /// The track it is from, counted from 1.
    pub track: u16,
    /// What is sent.
    pub body: Body,
}

/// What an event sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A MIDI 1.0 channel voice message, or (from an escape) system common or real-time. Group 0.
    Message(Ump),
    /// A whole SysEx: the bytes between F0 and F7, all below 80.
    SysEx(Box<[u8]>),
}

/// From here on another tempo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TempoChange {
    /// Time since the beginning of the piece.
    pub at: Span,
    /// The length of a beat (a quarter note) in microseconds: 1 to 16,777,215.
    pub us_per_beat: u32,
}

impl TempoChange {
    /// Beats a minute, for display.
    #[must_use]
    pub fn bpm(&self) -> f64 {
        60_000_000.0 / f64::from(self.us_per_beat)
    }
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Note-ons (of a velocity above 0).
    pub notes: usize,
    /// SysEx messages.
    pub sysex: usize,
    /// Of these, how many lack their F7 in the file.
    pub unterminated_sysex: usize,
    /// Bytes of SysEx packets and escapes that belong to no message; they are not sent.
    pub stray_bytes: usize,
}

impl Song {
    /// Reads a file.
    ///
    /// # Errors
    /// When the system cannot read it, and as [`Song::parse`].
    pub fn read(path: &Path) -> Result<Self, SmfError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        // One byte more than allowed, so that `parse` sees that there is more.
        let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => Self::parse(&name, &bytes),
            Err(source) => Err(SmfError::Io { name, source }),
        }
    }

    /// Reads the bytes of a file; `name` is for messages.
    ///
    /// # Errors
    /// [`SmfError::Broken`] when the bytes are not a whole Standard MIDI File.
    pub fn parse(name: &str, file: &[u8]) -> Result<Self, SmfError> {
        Self::of(file, MAX_EVENTS).map_err(|(offset, fault)| SmfError::Broken {
            name: name.to_owned(),
            offset,
            fault,
        })
    }

    fn of(file: &[u8], events_max: usize) -> Result<Self, chunks::Located> {
        if file.len() > MAX_FILE_BYTES {
            return Err((MAX_FILE_BYTES, Fault::TooLarge { limit: MAX_FILE_BYTES }));
        }
        let chunks = chunks::split(file)?;
        let in_turn = chunks.format == Format::InTurn;
        let mut pool = track::Pool::new(events_max);
        let (mut tracks, mut end) = (0, 0);
        for bytes in &chunks.tracks {
            tracks += 1;
            let start = if in_turn { end } else { 0 };
            if in_turn && tracks > 1 {
                let us_per_beat = tempo::DEFAULT_US_PER_BEAT;
                pool.tempos.push(tempo::TickTempo { tick: start, us_per_beat });
            }
            end = end.max(track::read(bytes, tracks, start, &mut pool)?);
        }
        // Both sorts are stable: the tracks were read in order, and so they stay within a tick.
        let track::Pool { mut events, mut tempos, counts, name, .. } = pool;
        events.sort_by_key(|event| event.tick);
        tempos.sort_by_key(|change| change.tick);

        let too_long = (file.len(), Fault::TooLong);
        let mut walk = TempoWalk::new(chunks.division, &tempos);
        for event in &mut events {
            event.at = walk.at(event.tick).ok_or(too_long)?;
        }
        let duration = walk.at(end).filter(|span| *span <= MAX_DURATION).ok_or(too_long)?;
        let mut walk = TempoWalk::new(chunks.division, &tempos);
        let tempos = tempos
            .iter()
            .map(|t| Some(TempoChange { at: walk.at(t.tick)?, us_per_beat: t.us_per_beat }))
            .collect::<Option<_>>()
            .ok_or(too_long)?;
        let format = chunks.format;
        Ok(Self { events, tempos, format, tracks, duration, title: name, counts })
    }

    /// All events in playing order: by time, then track, then order in the track.
    #[must_use]
    pub fn events(&self) -> &[SongEvent] {
        &self.events
    }

    /// The tempo changes in order of time; none means 120 beats a minute throughout.
    #[must_use]
    pub fn tempos(&self) -> &[TempoChange] {
        &self.tempos
    }

    /// From the beginning to the end of the last track, which may be later than the last event.
    #[must_use]
    pub const fn duration(&self) -> Span {
        self.duration
    }

    /// The name of the first track, which is by convention that of the piece; a line without control
    /// characters.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// How the tracks lie to each other.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// How many tracks there are.
    #[must_use]
    pub const fn tracks(&self) -> u16 {
        self.tracks
    }

    /// Notes, SysEx, and what was strange.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }
}
