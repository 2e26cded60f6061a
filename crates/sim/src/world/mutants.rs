//! Bugs planted behind a node's back, to show that a checker sees them: between a node and its outputs,
//! and in the datagrams that it sends, where they look like a node that forgets.

use midip2p_proto::midi::view::{Midi1, View};
use midip2p_proto::midi::{MessageType, Ump, sysex7};
use midip2p_proto::seal::{Seal, Unsealed};
use midip2p_proto::wire::datagram::{FIELD_ACK, FIELD_EVENTS};
use midip2p_proto::wire::{Field, fields, split};

use super::World;
use crate::checkers::Place;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// One note-off in ten is not played.
    DropNoteOff,
    /// One note-on in ten is played twice.
    PlayTwice,
    /// One note-on in ten is played after its successor.
    Swap,
    /// The last packet of a SysEx is not played.
    CutSysEx,
    /// One byte of a SysEx is another.
    ChangeSysEx,
    /// One controller in ten is not played.
    DropController,
    /// One controller in ten has another value.
    ChangeController,
    /// A controller's value comes again after the next one.
    OldValue,
    /// One note in ten ends by the node's own doing as soon as it begins.
    CutShort,
    /// Half of what selects a parameter is not played, so that data go to another one.
    DropSelection,
    /// What changes nothing that could be compared at rest is not played: a request to tune.
    DropTune,
    /// No datagram acknowledges anything.
    ForgetAck,
    /// Every datagram acknowledges two events more than have come.
    AckTooMuch,
    /// Events that were sent once are never sent again.
    ForgetRepeats,
    /// One dial in ten is never answered.
    LoseDial,
    /// One stream in three that its node closed stays open.
    KeepStream,
    /// One mirror in three that is to go stays.
    KeepMirror,
    /// One port in three that is let go of is read on.
    KeepPort,
    /// One port in three that vanishes is not said to have.
    MissVanish,
    /// A node that starts does not remember its routes.
    ForgetRoutes,
}

impl Mutant {
    /// Whether it may bite this message.
    fn concerns(self, message: &Ump) -> bool {
        let voice = message.message_type() == MessageType::Midi1Voice;
        let controller = match View::of(*message) {
            View::Midi1 { message: Midi1::ControlChange { controller, .. }, .. } => {
                Some(controller)
            }
            _ => None,
        };
        match self {
            Self::DropNoteOff => voice && message.status() >> 4 == 8,
            Self::PlayTwice | Self::Swap | Self::CutShort => voice && message.status() >> 4 == 9,
            Self::CutSysEx | Self::ChangeSysEx => is_last(message),
            Self::DropController => controller == Some(7),
            Self::ChangeController | Self::OldValue => controller == Some(7),
            Self::DropSelection => controller == Some(98),
            Self::DropTune => message.status() == 0xF6,
            Self::ForgetAck | Self::AckTooMuch | Self::ForgetRepeats => false,
            Self::LoseDial | Self::KeepStream | Self::KeepMirror | Self::KeepPort => false,
            Self::MissVanish | Self::ForgetRoutes => false,
        }
    }
}

impl World {
    /// Whether a bug beside the path of a note bites this time: one time in so many.
    pub(super) const fn bites(&mut self, mutant: Mutant, every: u32) -> bool {
        if !matches!(self.mutant, Some(planted) if planted as u8 == mutant as u8) {
            return false;
        }
        self.mutations += 1;
        self.mutations.is_multiple_of(every)
    }

    /// An output plays a message, as it is or as a planted bug has it.
    pub(super) fn sound(&mut self, place: Place, message: Ump) {
        let mutant = self.mutant.filter(|mutant| mutant.concerns(&message));
        self.mutations += u32::from(mutant.is_some());
        let always = is_last(&message) || message.status() == 0xF6;
        let mutant = mutant.filter(|_| always || self.mutations.is_multiple_of(10));
        let now = self.now;
        match mutant {
            Some(
                Mutant::DropNoteOff
                | Mutant::CutSysEx
                | Mutant::DropController
                | Mutant::DropSelection
                | Mutant::DropTune,
            ) => {}
            Some(Mutant::Swap) => self.held_back = Some((place, message)),
            Some(Mutant::PlayTwice) => {
                self.checkers.heard(now, &place, &message);
                self.checkers.heard(now, &place, &message);
            }
            Some(Mutant::CutShort) => {
                let [_, status, note, _] = message.words()[0].to_be_bytes();
                let end = Ump::midi1(message.group().unwrap_or(0), 0x80 | status & 0xF, note, 64);
                self.checkers.heard(now, &place, &message);
                self.checkers.heard(now, &place, &end);
            }
            Some(Mutant::OldValue) => {
                self.checkers.heard(now, &place, &message);
                self.old = Some(message);
            }
            Some(Mutant::ChangeSysEx | Mutant::ChangeController) => {
                let changed: Vec<u32> = message.words().iter().map(|word| word ^ 1).collect();
                let changed = match changed[..] {
                    // Of a SysEx the first byte, of a controller the value.
                    [_, second] => Ump::from_words(&[message.words()[0] ^ 1, second ^ 1]),
                    _ => Ump::from_words(&changed),
                };
                self.checkers.heard(now, &place, &changed.unwrap_or(message));
            }
            _ => {
                self.checkers.heard(now, &place, &message);
                if let Some((place, message)) = self.held_back.take() {
                    self.checkers.heard(now, &place, &message);
                }
                let is_next = self.old.is_some_and(|old| {
                    Mutant::OldValue.concerns(&message)
                        && old.words()[0] >> 8 == message.words()[0] >> 8
                        && old != message
                });
                if let Some(old) = self.old.take_if(|_| is_next) {
                    self.checkers.heard(now, &place, &old);
                }
            }
        }
    }

    /// Changes a datagram as a planted bug in the node that sends it would.
    pub(super) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        match self.mutant {
            Some(Mutant::ForgetAck) => rewrite(bytes, |tag, _| tag != FIELD_ACK),
            Some(Mutant::AckTooMuch) => rewrite(bytes, |tag, value| {
                if let (FIELD_ACK, Some(number)) = (tag, value.first_chunk_mut::<4>()) {
                    *number = u32::from_be_bytes(*number).wrapping_add(2).to_be_bytes();
                }
                true
            }),
            Some(Mutant::ForgetRepeats) => self.forget_repeats(bytes),
            _ => {}
        }
    }

    /// Leaves out fields of events that begin with one that was sent before.
    fn forget_repeats(&mut self, bytes: &mut Vec<u8>) {
        let Ok((header, _, body, _)) = split(bytes) else { return };
        let newest = self.newest_sent.entry(header.link.0).or_default();
        let mut before = *newest;
        for field in fields(body).flatten() {
            if let Field::Events(events) = field {
                *newest = (*newest).max(events.first());
            }
        }
        rewrite(bytes, |tag, value| {
            let Some(first) = value.first_chunk::<4>().filter(|_| tag == FIELD_EVENTS) else {
                return true;
            };
            let first = u32::from_be_bytes(*first);
            let is_new = first > before;
            before = before.max(first);
            is_new
        });
    }
}

fn is_last(message: &Ump) -> bool {
    sysex7::payload(message).is_some_and(|(part, _)| part == sysex7::Part::End)
}

/// Keeps the fields of a datagram that `keep` says, which may change their values, and seals it anew.
fn rewrite(bytes: &mut Vec<u8>, mut keep: impl FnMut(u8, &mut [u8]) -> bool) {
    let Ok((header, front, body, _)) = split(bytes) else { return };
    let (front, mut rest) = (*front, &mut *body);
    let mut kept = Vec::new();
    while let Some(([tag, high, low], after)) = rest.split_first_chunk_mut::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, after)) = after.split_at_mut_checked(length) else { break };
        if keep(*tag, value) {
            kept.extend_from_slice(&[*tag, *high, *low]);
            kept.extend_from_slice(value);
        }
        rest = after;
    }
    let tag = Unsealed.seal(&front, header.epoch, header.counter, &mut kept);
    *bytes = [&front[..], &kept, &tag].concat();
}
