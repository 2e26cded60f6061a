//! The events of one track.

use midip2p_midi::Ump;
use midly::{EventIter, MetaMessage, MidiMessage, TrackEventKind};

use super::chunks::{Located, TrackBytes};
use super::diagnose::diagnose;
use super::error::Fault;
use super::packets::{Packets, Whole};
use super::tempo::TickTempo;
use super::{Body, Counts, SongEvent};

/// What the tracks of a file are poured into.
pub(super) struct Pool {
    pub(super) events: Vec<SongEvent>,
    events_max: usize,
    /// Whether an event found no room.
    full: bool,
    pub(super) tempos: Vec<TickTempo>,
    pub(super) counts: Counts,
    /// The name of the first track.
    pub(super) name: Option<String>,
}

/// Reads one track into the pool. `number` counts from 1, `start` is the tick at which it begins.
/// Gives the tick at which it ends.
pub(super) fn read(
    track: &TrackBytes<'_>,
    number: u16,
    start: u64,
    pool: &mut Pool,
) -> Result<u64, Located> {
    let mut packets = Packets::new();
    let mut tick = start;
    let end = events(track, number, &mut tick, &mut packets, pool)?;
    packets.close(&mut |whole| pool.push(whole, tick, number));
    pool.counts.unterminated_sysex += packets.unterminated;
    pool.counts.stray_bytes += packets.stray();
    pool.check_room(track.offset + track.bytes.len())?;
    Ok(end)
}

fn events(
    track: &TrackBytes<'_>,
    number: u16,
    sounded: &mut u64,
    packets: &mut Packets,
    pool: &mut Pool,
) -> Result<u64, Located> {
    let mut iter = EventIter::new(track.bytes);
    let mut tick = *sounded;
    loop {
        let rest = iter.unread();
        let begin = track.bytes.len() - rest.len();
        let running = iter.running_status();
        pool.check_room(track.offset + begin)?;
        let located = |(at, fault): (usize, Fault)| (track.offset + begin + at, fault);
        let event = match iter.next() {
            None if track.closed => return Ok(tick),
            None => return Err(located((0, Fault::TrackShort { track: number }))),
            Some(Ok(event)) => event,
            Some(Err(_)) => {
                let odd = diagnose(rest, running, begin == 0, number).map_err(located)?;
                tick += odd.delta;
                iter = EventIter::new(&rest[odd.length..]);
                continue;
            }
        };
        tick += u64::from(event.delta.as_int());
        match event.kind {
            TrackEventKind::Midi { channel, message } => {
                packets.close(&mut |whole| pool.push(whole, *sounded, number));
                pool.push(Whole::Message(voice(channel.as_int(), message)), tick, number);
                *sounded = tick;
            }
            TrackEventKind::SysEx(bytes) => {
                packets.close(&mut |whole| pool.push(whole, *sounded, number));
                packets.begin(bytes, &mut |whole| pool.push(whole, tick, number));
                *sounded = tick;
            }
            TrackEventKind::Escape(bytes) => {
                packets.go_on(bytes, &mut |whole| pool.push(whole, tick, number));
                *sounded = tick;
            }
            // Whatever stands behind the end is not played, as in every player.
            TrackEventKind::Meta(MetaMessage::EndOfTrack) => return Ok(tick),
            TrackEventKind::Meta(meta) => {
                pool.meta(meta, tick, number).map_err(|fault| located((0, fault)))?;
            }
        }
    }
}

impl Pool {
    pub(super) fn new(events_max: usize) -> Self {
        Self {
            events: Vec::new(),
            events_max,
            full: false,
            tempos: Vec::new(),
            counts: Counts::default(),
            name: None,
        }
    }

    fn push(&mut self, whole: Whole, tick: u64, track: u16) {
        if self.events.len() >= self.events_max {
            self.full = true;
            return;
        }
        let body = match whole {
            Whole::Message(message) => {
                let [_, status, _, velocity] = message.words()[0].to_be_bytes();
                self.counts.notes += usize::from(status & 0xF0 == 0x90 && velocity > 0);
                Body::Message(message)
            }
            Whole::SysEx(data) => {
                self.counts.sysex += 1;
                Body::SysEx(data.into_boxed_slice())
            }
        };
        self.events.push(SongEvent { at: super::Span::ZERO, tick, track, body });
    }

    fn check_room(&self, at: usize) -> Result<(), Located> {
        let limit = self.events_max;
        if self.full { Err((at, Fault::TooManyEvents { limit })) } else { Ok(()) }
    }

    fn meta(&mut self, meta: MetaMessage<'_>, tick: u64, track: u16) -> Result<(), Fault> {
        match meta {
            MetaMessage::Tempo(tempo) => match tempo.as_int() {
                0 => return Err(Fault::TempoZero { track }),
                us_per_beat => self.tempos.push(TickTempo { tick, us_per_beat }),
            },
            // Too short for midly to read it as a tempo; what is longer, it takes.
            MetaMessage::Unknown(0x51, bytes) => {
                return Err(Fault::TempoLength { track, length: bytes.len() });
            }
            MetaMessage::TrackName(text) if track == 1 && self.name.is_none() => {
                self.name = readable(text);
            }
            _ => {}
        }
        Ok(())
    }
}

fn voice(channel: u8, message: MidiMessage) -> Ump {
    let (status, data1, data2) = match message {
        MidiMessage::NoteOff { key, vel } => (0x80, key.as_int(), vel.as_int()),
        MidiMessage::NoteOn { key, vel } => (0x90, key.as_int(), vel.as_int()),
        MidiMessage::Aftertouch { key, vel } => (0xA0, key.as_int(), vel.as_int()),
        MidiMessage::Controller { controller, value } => {
            (0xB0, controller.as_int(), value.as_int())
        }
        MidiMessage::ProgramChange { program } => (0xC0, program.as_int(), 0),
        MidiMessage::ChannelAftertouch { vel } => (0xD0, vel.as_int(), 0),
        MidiMessage::PitchBend { bend } => {
            let [high, low] = (bend.0.as_int() << 1).to_be_bytes();
            (0xE0, low >> 1, high)
        }
    };
    Ump::midi1(0, status | channel, data1, data2)
}

/// A text for people: UTF-8, or else Latin-1; without control characters (it goes to terminals), not
/// longer than a line; `None` when nothing is left.
fn readable(text: &[u8]) -> Option<String> {
    const CHARS_MAX: usize = 120;
    let decoded = match std::str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => text.iter().copied().map(char::from).collect(),
    };
    let line: String =
        decoded.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect();
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}
