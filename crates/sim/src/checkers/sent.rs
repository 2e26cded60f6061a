//! What a source sent: in order, by what it is about, and the state it left a device in.

use std::collections::BTreeMap;

use midip2p_proto::midi::sysex7;
use midip2p_proto::midi::view::{Midi1, Midi2, View};
use midip2p_proto::midi::{MessageType, Ump};

use crate::clock::TrueTime;
use crate::device::{Key, State, What};

/// What a source sends: a message, or the data bytes of a SysEx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message of one packet.
    Message(Ump),
    /// A whole SysEx.
    SysEx(Vec<u8>),
}

impl Item {
    /// How it is told of.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Message(message) => format!("{message:?}"),
            Self::SysEx(bytes) => format!("a SysEx of {} bytes", bytes.len()),
        }
    }
}

/// What an item is about. Of two items of one class the later one makes the earlier one void, and the
/// earlier one must never come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// All SysEx of a source: they stay in order.
    SysEx,
    /// A note, its beginnings and its ends; or a value.
    Value(u8, What),
    /// A controller by its number alone: those of parameters, and the channel modes.
    Controller(u8, u8),
    /// Any other message: its type and status, or channel and status.
    Other(MessageType, u8),
}

/// Where order is kept: what waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// A channel, or all messages that have none.
    Strand(Option<u8>),
    /// All messages, for the sake of a SysEx.
    Messages,
    /// All SysEx.
    SysEx,
}

impl Line {
    /// The lines that an item stands in.
    pub fn of(class: Class) -> impl Iterator<Item = Self> {
        let messages = (class != Class::SysEx).then_some(Self::Messages);
        let own = if class == Class::SysEx { Self::SysEx } else { Self::Strand(class.channel()) };
        [Some(own), messages].into_iter().flatten()
    }

    /// The lines in which items wait for one of this class.
    #[must_use]
    pub fn behind(class: Class) -> [Option<Self>; 2] {
        match class {
            Class::SysEx => [Some(Self::Messages), None],
            class => [Some(Self::Strand(class.channel())), Some(Self::SysEx)],
        }
    }
}

impl Class {
    /// What an item is about.
    #[must_use]
    pub fn of(item: &Item) -> Self {
        let Item::Message(packet) = item else { return Self::SysEx };
        match View::of(*packet) {
            View::Midi1 { channel, message, .. } => match message {
                Midi1::NoteOff { note, .. } | Midi1::NoteOn { note, .. } => {
                    Self::Value(channel, What::Note(note))
                }
                Midi1::KeyAftertouch { note, .. } => Self::Value(channel, What::NotePressure(note)),
                Midi1::ControlChange { controller, .. } => Self::Controller(channel, controller),
                Midi1::ProgramChange { .. } => Self::Value(channel, What::Program),
                Midi1::ChannelAftertouch { .. } => Self::Value(channel, What::Pressure),
                Midi1::PitchBend { .. } => Self::Value(channel, What::Bend),
            },
            View::Midi2 { channel, message, .. } => Self::of_midi2(channel, message),
            _ => Self::Other(packet.message_type(), packet.status()),
        }
    }

    fn of_midi2(channel: u8, message: Midi2) -> Self {
        let what = match message {
            Midi2::NoteOff { note, .. } | Midi2::NoteOn { note, .. } => What::Note(note),
            Midi2::KeyAftertouch { note, .. } => What::NotePressure(note),
            Midi2::RegisteredPerNoteController { note, index, .. } => {
                What::NoteController(note, true, index)
            }
            Midi2::AssignablePerNoteController { note, index, .. } => {
                What::NoteController(note, false, index)
            }
            Midi2::PerNotePitchBend { note, .. } => What::NoteBend(note),
            Midi2::RegisteredController { bank, index, .. }
            | Midi2::RelativeRegisteredController { bank, index, .. } => {
                What::Parameter(true, bank, index)
            }
            Midi2::AssignableController { bank, index, .. }
            | Midi2::RelativeAssignableController { bank, index, .. } => {
                What::Parameter(false, bank, index)
            }
            Midi2::ControlChange { controller, .. } => {
                return Self::Controller(channel, controller);
            }
            Midi2::ProgramChange { .. } => What::Program,
            Midi2::ChannelAftertouch { .. } => What::Pressure,
            Midi2::PitchBend { .. } => What::Bend,
            // Apart from the note itself: with it nothing of it is told again.
            Midi2::PerNoteManagement { note, .. } => What::NoteController(note, false, u8::MAX),
        };
        Self::Value(channel, what)
    }

    /// The channel of items of this class, if they have one.
    #[must_use]
    pub const fn channel(self) -> Option<u8> {
        match self {
            Self::Value(channel, _) | Self::Controller(channel, _) => Some(channel),
            Self::SysEx | Self::Other(..) => None,
        }
    }

    /// Whether it is about notes that sound.
    #[must_use]
    pub const fn is_note(self) -> bool {
        matches!(self, Self::Value(_, What::Note(_)))
    }

    /// Whether these only together say something: what selects a bank or parameter, and data entry.
    #[must_use]
    pub const fn is_part(self) -> bool {
        matches!(self, Self::Controller(_, 0 | 32 | 6 | 38 | 96..=101))
    }
}

/// All that one source sent.
#[derive(Debug, Default)]
pub struct Source {
    /// Items with the moments at which they were sent; of a SysEx, its end.
    pub items: Vec<(TrueTime, Item)>,
    /// The places in `items` of each class.
    pub classes: BTreeMap<Class, Vec<usize>>,
    /// The places in `items` of each line.
    pub lines: BTreeMap<Line, Vec<usize>>,
    /// What a device would be that heard all of it.
    pub state: State,
    /// All values that this device ever had, in order.
    pub history: BTreeMap<Key, Vec<Option<u64>>>,
    sending: Vec<u8>,
}

impl Source {
    /// The source gave a packet to its node.
    pub fn sent(&mut self, now: TrueTime, packet: &Ump) {
        let Some((part, bytes)) = sysex7::payload(packet) else {
            for (key, value) in self.state.play(packet) {
                self.history.entry(key).or_default().push(value);
            }
            return self.push(now, Item::Message(*packet));
        };
        if part.begins() {
            self.sending.clear();
        }
        self.sending.extend_from_slice(&bytes);
        if part.ends() {
            let whole = std::mem::take(&mut self.sending);
            self.push(now, Item::SysEx(whole));
        }
    }

    fn push(&mut self, now: TrueTime, item: Item) {
        let class = Class::of(&item);
        self.classes.entry(class).or_default().push(self.items.len());
        for line in Line::of(class) {
            self.lines.entry(line).or_default().push(self.items.len());
        }
        self.items.push((now, item));
    }
}
