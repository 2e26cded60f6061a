//! Sequencer events and MIDI messages.
//!
//! The sequencer speaks in events of its own: one a message mostly, but a 14-bit controller or an
//! (N)RPN event stands for up to four controller messages, and SysEx comes as pieces of any length.

use alsa::seq::{EvCtrl, EvNote, EvQueueControl, Event, EventType};
use midip2p_midi::Ump;

/// The most messages that one short event becomes.
pub(super) const MESSAGES_MAX: usize = 4;

/// The events that are asked of the kernel; all others never wake us. SysEx is among them and goes by
/// the byte parser. Left out on purpose: active sensing (each cable has its own), and the kernel
/// itself turns `Note` into a note-on and a note-off.
pub(super) const WANTED: [EventType; 20] = [
    EventType::Noteon,
    EventType::Noteoff,
    EventType::Keypress,
    EventType::Controller,
    EventType::Pgmchange,
    EventType::Chanpress,
    EventType::Pitchbend,
    EventType::Control14,
    EventType::Nonregparam,
    EventType::Regparam,
    EventType::Songpos,
    EventType::Songsel,
    EventType::Qframe,
    EventType::Start,
    EventType::Continue,
    EventType::Stop,
    EventType::Clock,
    EventType::TuneRequest,
    EventType::Reset,
    EventType::Sysex,
];

/// The messages of one short event; reads as a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Messages {
    all: [Ump; MESSAGES_MAX],
    len: usize,
}

impl Messages {
    fn none() -> Self {
        Self { all: [Ump::system(0, 0, 0, 0); MESSAGES_MAX], len: 0 }
    }

    fn one(message: Ump) -> Self {
        let mut messages = Self::none();
        messages.push(message);
        messages
    }

    fn push(&mut self, message: Ump) {
        self.all[self.len] = message;
        self.len += 1;
    }

    /// The messages, oldest first.
    pub(super) fn as_slice(&self) -> &[Ump] {
        &self.all[..self.len]
    }
}

/// The messages that `event` stands for, in group 0; none for events that are no MIDI 1.0 message and
/// for SysEx, whose bytes are in [`Event::get_ext`].
pub(super) fn messages(event: &Event<'_>) -> Messages {
    let kind = event.get_type();
    if let Some(note) = event.get_data::<EvNote>() {
        return note_message(kind, note).map_or(Messages::none(), Messages::one);
    }
    if let Some(control) = event.get_data::<EvCtrl>() {
        return control_messages(kind, control);
    }
    let status = match kind {
        EventType::TuneRequest => 0xF6,
        EventType::Clock => 0xF8,
        EventType::Start => 0xFA,
        EventType::Continue => 0xFB,
        EventType::Stop => 0xFC,
        EventType::Reset => 0xFF,
        _ => return Messages::none(),
    };
    Messages::one(Ump::system(0, status, 0, 0))
}

fn note_message(kind: EventType, note: EvNote) -> Option<Ump> {
    let status = match kind {
        EventType::Noteoff => 0x80,
        EventType::Noteon => 0x90,
        EventType::Keypress => 0xA0,
        _ => return None,
    };
    Some(Ump::midi1(0, status | (note.channel & 0xF), note.note, note.velocity))
}

fn control_messages(kind: EventType, control: EvCtrl) -> Messages {
    let channel = control.channel & 0xF;
    let controller = |number: u8, value: u8| Ump::midi1(0, 0xB0 | channel, number, value);
    let value = seven(i64::from(control.value));
    let (high, low) = fourteen(i64::from(control.value));
    let number = seven(i64::from(control.param));
    match kind {
        EventType::Controller => Messages::one(controller(number, value)),
        EventType::Pgmchange => Messages::one(Ump::midi1(0, 0xC0 | channel, value, 0)),
        EventType::Chanpress => Messages::one(Ump::midi1(0, 0xD0 | channel, value, 0)),
        EventType::Pitchbend => {
            let (high, low) = fourteen(i64::from(control.value) + PITCH_CENTRE);
            Messages::one(Ump::midi1(0, 0xE0 | channel, low, high))
        }
        EventType::Control14 if number < 32 => {
            let mut both = Messages::one(controller(number, high));
            both.push(controller(number + 32, low));
            both
        }
        EventType::Control14 => Messages::one(controller(number, value)),
        EventType::Nonregparam | EventType::Regparam => {
            let (high_number, low_number) =
                if kind == EventType::Regparam { (101, 100) } else { (99, 98) };
            let (param_high, param_low) = fourteen(i64::from(control.param));
            let mut all = Messages::one(controller(high_number, param_high));
            all.push(controller(low_number, param_low));
            all.push(controller(6, high));
            all.push(controller(38, low));
            all
        }
        EventType::Qframe => Messages::one(Ump::system(0, 0xF1, value, 0)),
        EventType::Songpos => Messages::one(Ump::system(0, 0xF2, low, high)),
        EventType::Songsel => Messages::one(Ump::system(0, 0xF3, value, 0)),
        _ => Messages::none(),
    }
}

/// The event of a short MIDI 1.0 message, `None` when the sequencer has none (undefined status bytes)
/// or it is not passed on (active sensing).
pub(super) fn event(bytes: &[u8]) -> Option<Event<'static>> {
    let (status, data) = bytes.split_first()?;
    let first = data.first().copied().unwrap_or(0);
    let second = data.get(1).copied().unwrap_or(0);
    let channel = status & 0xF;
    let note = |kind| {
        let data = EvNote { channel, note: first, velocity: second, ..EvNote::default() };
        Some(Event::new(kind, &data))
    };
    let control = |kind, param: u8, value: i32| {
        Some(Event::new(kind, &EvCtrl { channel, param: u32::from(param), value }))
    };
    let fourteen_bits = i32::from(second) << 7 | i32::from(first);
    let queue = |kind| Some(Event::new(kind, &EvQueueControl { queue: 0, value: () }));
    match status {
        0x80..=0x8F => note(EventType::Noteoff),
        0x90..=0x9F => note(EventType::Noteon),
        0xA0..=0xAF => note(EventType::Keypress),
        0xB0..=0xBF => control(EventType::Controller, first, i32::from(second)),
        0xC0..=0xCF => control(EventType::Pgmchange, 0, i32::from(first)),
        0xD0..=0xDF => control(EventType::Chanpress, 0, i32::from(first)),
        0xE0..=0xEF => control(EventType::Pitchbend, 0, fourteen_bits - 0x2000),
        0xF1 => control(EventType::Qframe, 0, i32::from(first)),
        0xF2 => control(EventType::Songpos, 0, fourteen_bits),
        0xF3 => control(EventType::Songsel, 0, i32::from(first)),
        0xF6 => Some(Event::new(EventType::TuneRequest, &())),
        0xF8 => queue(EventType::Clock),
        0xFA => queue(EventType::Start),
        0xFB => queue(EventType::Continue),
        0xFC => queue(EventType::Stop),
        0xFF => Some(Event::new(EventType::Reset, &())),
        _ => None,
    }
}

/// The sequencer's pitch bend is signed, the wire's is not.
const PITCH_CENTRE: i64 = 0x2000;

fn seven(value: i64) -> u8 {
    u8::try_from(value.clamp(0, 0x7F)).unwrap_or(0x7F)
}

/// The upper and the lower seven bits.
fn fourteen(value: i64) -> (u8, u8) {
    let value = value.clamp(0, 0x3FFF);
    (seven(value >> 7), seven(value & 0x7F))
}

#[cfg(test)]
mod tests {
    use midip2p_midi::bytes::Writer;

    use super::*;

    fn message(status: u8, data1: u8, data2: u8) -> Ump {
        if status < 0xF0 {
            Ump::midi1(0, status, data1, data2)
        } else {
            Ump::system(0, status, data1, data2)
        }
    }

    #[test]
    fn every_short_message_becomes_an_event_and_comes_back() {
        let data: [u8; 5] = [0, 1, 63, 64, 127];
        for status in 0x80..=0xFF_u8 {
            for (data1, data2) in data.iter().flat_map(|a| data.map(|b| (*a, b))) {
                let ump = message(status, data1, data2);
                let Ok(bytes) = Writer::new().write(&ump) else { continue };
                let Some(event) = event(&bytes) else {
                    assert_eq!(status, 0xFE, "only active sensing is left out");
                    continue;
                };
                let back = messages(&event);
                let expected = message(
                    status,
                    if bytes.len() > 1 { data1 } else { 0 },
                    if bytes.len() > 2 { data2 } else { 0 },
                );
                assert_eq!(back.as_slice(), [expected]);
                assert!(WANTED.contains(&event.get_type()));
            }
        }
    }

    #[test]
    fn every_event_type_that_is_wanted_becomes_messages_and_no_other_does() {
        for kind in EventType::all() {
            let event = if EvNote::has(*kind) {
                Event::new(*kind, &EvNote::default())
            } else if EvCtrl::has(*kind) {
                Event::new(*kind, &EvCtrl::default())
            } else if matches!(
                kind,
                EventType::Start | EventType::Continue | EventType::Stop | EventType::Clock
            ) {
                Event::new(*kind, &EvQueueControl { queue: 0, value: () })
            } else if matches!(kind, EventType::TuneRequest | EventType::Reset | EventType::Sensing)
            {
                Event::new(*kind, &())
            } else {
                continue;
            };
            let silent = matches!(
                kind,
                EventType::Sensing | EventType::Note | EventType::Timesign | EventType::Keysign
            );
            assert_eq!(messages(&event).as_slice().is_empty(), silent, "{kind:?}");
            assert_eq!(WANTED.contains(kind), !silent, "{kind:?}");
        }
    }

    trait Has {
        fn has(kind: EventType) -> bool;
    }
    impl<T: alsa::seq::EventData> Has for T {
        fn has(kind: EventType) -> bool {
            T::has_data(kind)
        }
    }

    #[test]
    fn events_of_fourteen_bits_become_controllers() {
        let control = |kind, param, value| {
            let event = Event::new(kind, &EvCtrl { channel: 3, param, value });
            messages(&event).as_slice().iter().map(|m| m.words()[0] & 0xFFFF).collect::<Vec<_>>()
        };
        assert_eq!(control(EventType::Control14, 7, 0x1234), [0x0724, 0x2734]);
        assert_eq!(control(EventType::Control14, 64, 127), [0x407F]);
        assert_eq!(control(EventType::Regparam, 0x0001, 0x2000), [0x6500, 0x6401, 0x0640, 0x2600]);
        assert_eq!(
            control(EventType::Nonregparam, 0x3FFF, 0x0001),
            [0x637F, 0x627F, 0x0600, 0x2601]
        );
        assert_eq!(control(EventType::Pitchbend, 0, -0x2000), [0x0000]);
        assert_eq!(control(EventType::Pitchbend, 0, 0x1FFF), [0x7F7F]);
    }

    #[test]
    fn values_out_of_range_are_bounded() {
        for value in [i32::MIN, -1, 128, i32::MAX] {
            for kind in [EventType::Controller, EventType::Pitchbend, EventType::Regparam] {
                let event = Event::new(kind, &EvCtrl { channel: 255, param: u32::MAX, value });
                for message in messages(&event).as_slice() {
                    assert!(Writer::new().write(message).is_ok(), "{message:?}");
                }
            }
        }
    }
}
